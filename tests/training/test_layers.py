"""Networks for layers in training: losses by hand, samples by number, runs that resume to the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from microtomo.tem.layers.training_images import overcoat_images
from microtomo.training import run as running
from microtomo.training.layers import LayerTraining, coverage_loss
from microtomo.training.run import run_training
from microtomo.training.task import load_run

SMALL = [
    "network.sizes=[4, 8]", "data.synthetic=3", "data.crop=32", "data.epoch=8", "optimiser.batch=4", "epochs=2",
    "precision=32-true", "accelerator=cpu",
]  # fmt: skip


def test_the_loss_is_cross_entropy_against_shares_and_dice_by_hand():
    logits, target = torch.zeros(1, 2, 10, 10), torch.full((1, 10, 10), 0.25)
    # p = 1/2 everywhere: log 2; both 12.5, either 50 + 25
    assert float(coverage_loss(logits, target, 0)) == pytest.approx(np.log(2))
    assert float(coverage_loss(logits, target, 2)) == pytest.approx(np.log(2) + 2 * (1 - 75 / 125))


def test_samples_are_those_of_the_overcoats_by_number():
    task = LayerTraining(load_run("layer-unet", None, [*SMALL, "seed=5"]))
    samples, numbers = task.samples(3)
    assert numbers == range(24, 32)
    image, target = samples[25]
    pixels, share = overcoat_images(5, 3, 32).pair(25)
    np.testing.assert_array_equal(image[0].numpy(), pixels)
    np.testing.assert_array_equal(target.numpy(), share)


@pytest.mark.parametrize("name", ["layer-segnet", "layer-deeplab", "layer-nasnet"])
def test_every_network_for_layers_is_trained_alike(name):
    small = {"layer-segnet": ["network.sizes=[4]", "network.depths=[1]"], "layer-deeplab": ["network.width=4"]}
    small["layer-nasnet"] = ["network.filters=4", "network.checkpointing=true"]
    config = load_run(name, None, [*SMALL[1:], *small[name]])
    assert isinstance(config.data, type(load_run("layer-unet").data))


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    config = load_run("layer-unet", None, SMALL)
    whole = load_file(run_training(config, tmp_path / "whole"))

    def cut(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(running.RunProgress, "on_train_epoch_start", cut)
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path / "cut")
    monkeypatch.undo()
    other = load_file(run_training(config, tmp_path / "cut"))
    assert all(torch.equal(value, other[name]) for name, value in whole.items())


def test_the_recipe_is_understood():
    config = load_run("layer-unet", Path(__file__).parents[2] / "recipes" / "layer-unet.toml")
    assert (config.data.crop, config.data.synthetic, config.optimiser.batch, config.dice) == (256, 4000, 4, 0.2)
