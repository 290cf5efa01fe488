"""Small scans, reconstructions and data sets for the tests."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.io.scans import read_scan, write_scan
from microtomo.materials import ENERGIES_KEV, load_stack
from microtomo.scan import Reconstruction, Scan

STACK = load_stack("au-al-si")
E, Y, X = 31, 6, 7


def make_scan(samples=None, seed=0, **more):
    rng = np.random.default_rng(seed)
    leading = () if samples is None else (samples,)
    data = rng.uniform(0.8, 1.8, (*leading, E, Y, X)).astype(np.float32)
    truth = rng.uniform(0, 15, (*leading, 2, Y, X)).astype(np.float32)
    given = {"pixel_nm": 4.0, "stack": STACK, "forward": "published", "noise": 0.02, "truth": truth}
    return Scan(data, ENERGIES_KEV, **given | more)


def make_reconstruction(samples=None, seed=1, **more):
    rng = np.random.default_rng(seed)
    leading = () if samples is None else (samples,)
    given = {
        "thickness": rng.uniform(0, 15, (*leading, 2, Y, X)).astype(np.float32),
        "uncertainty": rng.uniform(0, 1, (*leading, 2, Y, X)).astype(np.float32),
        "volume": rng.integers(0, 3, (*leading, 16, Y, X)).astype(np.uint8),
        "chi_square": rng.uniform(0, 2, (*leading, Y, X)).astype(np.float32),
        "status": rng.integers(0, 4, (*leading, Y, X)).astype(np.uint8),
    }
    about = {"method": "map", "stack": STACK, "forward": "published", "noise": 0.03, "pixel_nm": 4.0, "seconds": 1.5}
    return Reconstruction(**given | about | more)


def make_data_set(folder, scan):
    """A data set of two shards with an index of virtual data sets."""
    count = len(scan.data)
    write_scan(folder / "index.h5", scan)
    with h5py.File(folder / "index.h5", "r+") as index:
        for key, values in (("data", scan.data), ("thickness", scan.truth)):
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            for k, part in enumerate((slice(0, 2), slice(2, count))):
                with h5py.File(folder / f"shard{k}.h5", "a") as shard:
                    shard[key] = values[part]
                layout[part] = h5py.VirtualSource(f"shard{k}.h5", key, values[part].shape)
            del index[f"entry/{key}/data"]
            index[f"entry/{key}"].create_virtual_dataset("data", layout)


def refused(path, match, **given):
    with pytest.raises(MicrotomoError, match=match) as caught:
        read_scan(path, **given)
    assert Path(path).name in str(caught.value)
    assert "\n" not in str(caught.value)
