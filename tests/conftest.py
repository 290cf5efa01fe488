import os
import signal
import tempfile
from ctypes.util import find_library

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# tables of the transport model, once for all processes of all runs, and never in the cache of who runs the tests
os.environ["XDG_CACHE_HOME"] = os.path.join(tempfile.gettempdir(), f"microtomo-tests-{os.getuid()}")

from pathlib import Path

import pytest
import torch

pytest_plugins = ["studies"]

torch.set_num_threads(1)
# a job started in the background inherits that Ctrl-C is ignored, and would hand that on to the programs under test
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="there is no CUDA device")
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(skip)
    if find_library("EGL") is None:
        skip = pytest.mark.skip(reason="libEGL is not installed: apt-get install libegl1 libgl1-mesa-dri")
        for item in items:
            if item.get_closest_marker("gl"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data, from MICROTOMO_REFERENCE_DATA or beside the repository."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MICROTOMO_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"reference data is not at {folder}: set MICROTOMO_REFERENCE_DATA to its folder")
    return folder
