"""Regressors of thickness: what they take, and that they learn."""

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.regression import SIDE, ImageRegressor, ThicknessRegressor, shrunk


def test_wrong_shapes_are_refused():
    with pytest.raises(MicrotomoError, match="shrunk"):
        ThicknessRegressor()(torch.zeros(1, 1, 50, 50))


def test_regressor_learns_the_thickness_of_bands():
    torch.manual_seed(0)
    x = np.arange(128)
    widths = np.linspace(8, 60, 16)
    masks = torch.cat([shrunk(np.tile(np.clip(w / 2 - np.abs(x - 64) + 0.5, 0, 1), (128, 1))) for w in widths])
    truth = torch.tensor(np.stack([widths / 128, np.zeros(16)], 1), dtype=torch.float32)
    network = ThicknessRegressor(sizes=(4, 8), dense=(32, 16), dropout=0.0)
    assert masks.shape == (16, 1, SIDE, SIDE)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network(masks) - truth).square().mean()
        loss.backward()
        optimiser.step()
    assert float((network(masks) - truth).detach()[:, 0].abs().mean()) < 0.04
    assert ImageRegressor(torch.nn.Conv2d(1, 4, 3), 4)(torch.rand(3, 1, 32, 32)).shape == (3, 2)
