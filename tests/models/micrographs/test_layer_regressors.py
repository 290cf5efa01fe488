"""Regressors of thickness: what they take, that they learn, and that they are trained like every network."""

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Shape, build_network
from microtomo.models.micrographs.layer_regressors import LayerRegressor, regress, squared
from microtomo.models.weights import load_network
from microtomo.training.layer_regression import RegressionTraining, overcoats
from microtomo.training.run import run_training
from microtomo.training.task import load_run

BODIES = {
    "layer-segnet-regressor": {"body": {"sizes": (4, 8), "depths": (1, 1)}},
    "layer-nasnet-regressor": {"body": {"stem": 4, "filters": 4, "cells": 1, "decoder": (4, 4, 4, 4)}},
}


def network_of(name, **settings):
    return build_network(Shape.model_validate({"architecture": name, **settings}))


def test_wrong_shapes_are_refused():
    with pytest.raises(MicrotomoError, match="squared"):
        network_of("layer-rcnn")(torch.zeros(1, 1, 50, 50))


def test_mask_regressor_learns_the_thickness_of_bands():
    torch.manual_seed(0)
    x = np.arange(128)
    widths = np.linspace(8, 60, 16)
    bands = [np.tile(np.clip(w / 2 - np.abs(x - 64) + 0.5, 0, 1), (128, 1)) for w in widths]
    masks = torch.from_numpy(np.stack([squared(band) for band in bands]))[:, None]
    truth = torch.tensor(np.stack([widths / 128, np.zeros(16)], 1), dtype=torch.float32)
    network = network_of("layer-rcnn", sizes=(4, 8), dense=(32, 16), dropout=0.0)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        (network(masks) - truth).square().mean().backward()
        optimiser.step()
    means = [regress(network, band)[0] for band in bands]
    assert np.abs(np.array(means) - widths).mean() < 0.04 * 128


@pytest.mark.parametrize("name", BODIES)
def test_image_regressors_give_mean_and_deviation_and_every_weight_learns(name):
    network = network_of(name, **BODIES[name]).train()
    out = network(torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (3, 2)
    out.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_run_gives_weights_that_are_read_back(tmp_path):
    settings = ["data.synthetic=4", "data.validation=2", "data.side=64", "data.epoch=4", "epochs=1", "network.side=16"]
    weights = run_training(load_run("layer-rcnn", None, settings), tmp_path / "run")
    network = load_network(weights, LayerRegressor, "layer-rcnn")
    assert np.isfinite(regress(network, np.zeros((64, 80)))).all()


def test_the_score_is_the_explained_variance_by_hand():
    settings = ["data.synthetic=1", "data.validation=2", "data.side=64"]
    task = RegressionTraining(load_run("layer-rcnn", None, settings))
    # true means 1 and 3: variance sum 2; errors 0 and 1
    assert float(task.score(torch.tensor([2.0, 4.0, 10.0, 1.0]))) == pytest.approx(0.5)


def test_truth_of_the_samples_is_the_thickness_in_shares_of_the_side():
    masks = overcoats(3, 3, 128, "mask")
    # area of the mask over the layer's length, which a tilt of up to 30 degrees makes up to 15 % longer than the side
    assert (masks.inputs.mean((1, 2)) / masks.truth[:, 0]).tolist() == pytest.approx([1.08] * 3, abs=0.12)
