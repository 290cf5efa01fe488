import numpy as np
import pytest
import torch

from microtomo import MicrotomoError, backscatter
from microtomo.study import Study
from microtomo.viz.readout import describe, readings, readout


def test_readout_is_the_pixel(rec, scan, maps, stack):
    study = Study("rec.h5", rec, scan, maps)
    pixel = readout(study, 5, 3)
    assert pixel.thickness == pytest.approx((3.5, 64))
    assert pixel.sigma == (1, 1)
    assert pixel.truth == (3, 60)
    np.testing.assert_allclose(pixel.observed, scan.data[:, 5, 3].numpy(), rtol=1e-6)
    model = backscatter(torch.tensor([3.5, 64.0]).double()[:, None, None], stack, "material")[:, 0, 0]
    np.testing.assert_allclose(pixel.resimulated, model.numpy(), rtol=1e-6)
    assert readings(pixel)[0] == {"symbol": "Al", "thickness": "64.0", "sigma": "1.0", "truth": "60.0"}
    assert f"signal at 7 keV {float(scan.data[2, 5, 3]):.4f}" in describe(pixel, 2)
    with pytest.raises(MicrotomoError, match=r"rows 0\.\.23, columns 0\.\.31"):
        readout(study, 24, 0)
