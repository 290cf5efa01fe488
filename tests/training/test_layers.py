"""Networks for layers in training: losses by hand, samples by number, runs that resume to the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from microtomo.tem.layers.training_images import overcoat_images, oxide_images
from microtomo.training import run as running
from microtomo.training.images import LabelledImages
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


def test_samples_of_oxides_stand_upright():
    task = LayerTraining(load_run("layer-unet", None, [*SMALL, "seed=5", "data.scene=oxide"]))
    image, target = task.samples(0)[0][1]
    pixels, share = oxide_images(5, 3).pair(1)
    np.testing.assert_array_equal(image[0].numpy(), pixels)
    assert target.shape == (128, 128)
    # the coating is on top: its edge, the first row of the oxide, lies above the middle of what is below
    rows = np.flatnonzero(share.any(1))
    assert 0 < rows[0] < 0.8 * 128


def test_images_that_stand_upright_are_only_mirrored():
    ramp = np.float32(np.add.outer(10 * np.arange(32), np.arange(32)))
    labels = (ramp > 100).astype(np.uint8)
    small = [*SMALL[:1], "data.synthetic=0", "data.crop=32", "data.upright=true", "data.inversion=0", "data.zoomed=0",
             "data.contrast=0", "data.brightness=0", "data.validation=0"]  # fmt: skip
    task = LayerTraining(load_run("layer-unet", None, small), LabelledImages([ramp], [labels]))
    samples, numbers = task.samples(0)
    seen = {tuple(np.sign(np.diff(samples[i][0][0].numpy().mean(1)))[:1]) for i in numbers[:20]}
    assert seen == {(1.0,)}  # never upside down


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
