from types import SimpleNamespace

import numpy as np
import pytest

from microtomo.scan import Reconstruction, Status


@pytest.fixture
def solver(monkeypatch):
    """Puts a stand-in where the solvers are: it records how it was called and says the signal of the first energies."""
    calls = []

    def reconstruct(scan, method="map", **options):
        calls.append({"scan": scan, "method": method, **options})
        data = np.asarray(scan.data)
        thickness = data[..., :2, :, :] * 10
        pixels = (*data.shape[:-3], *data.shape[-2:])
        status = np.zeros(pixels, np.uint8)
        status[..., 0, :] = Status.OUT_OF_RANGE
        volume = np.zeros((*data.shape[:-3], 16, *data.shape[-2:]), np.uint8)
        chi = np.ones(pixels, np.float32)
        about = {"method": method, "stack": scan.stack, "forward": options["forward"], "noise": 0.02, "seconds": 0.5}
        return Reconstruction(thickness, thickness / 10, volume, chi, status, **about)

    monkeypatch.setattr("microtomo.inverse.files.reconstruct", reconstruct)
    monkeypatch.setattr("microtomo.inverse.files.get_method", lambda name: SimpleNamespace(name=name))
    return calls
