"""Training of the particle network: by the house's runner, resumable, and useful to `segment`."""

import numpy as np
import pytest
import torch

from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.models.micrographs.particle_unet import ParticleUNet
from microtomo.models.weights import load_network
from microtomo.registry import get_task
from microtomo.tem.segmentation import segment
from microtomo.training.run import train
from microtomo.training.task import load_run, training_task

SMALL = {
    "data__side": 64,
    "data__epoch": 4,
    "data__validation": 2,
    "optimiser__batch": 2,
    "network__channels": (4, 8),
    "precision": "32-true",
    "accelerator": "cpu",
    "epochs": 2,
}


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole = train("particle-unet", tmp_path / "whole", **SMALL)
    task = training_task(type(load_run("particle-unet").network))
    loss, calls = task.loss, []

    def stops(self, network, batch):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(self, network, batch)

    monkeypatch.setattr(task, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        train("particle-unet", tmp_path / "parts", **SMALL)
    monkeypatch.setattr(task, "loss", loss)
    parts = train("particle-unet", tmp_path / "parts", **SMALL)
    one, other = (load_network(path, ParticleUNet).state_dict() for path in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    image, _ = get_task("particle").example(1, 0)
    result = segment(image[:64, :64], "particle-unet", weights=str(whole))
    assert result.labels.shape == (64, 64)


def test_the_score_is_f1_of_pixels_and_faint_ones_do_not_count():
    task = training_task(type(load_run("particle-unet").network))(load_run("particle-unet"))
    cover = torch.tensor([[[1.0, 1.0, 0.0, 0.0, 1.0]]])
    found = torch.tensor([[[5.0, -5.0, 5.0, -5.0, -5.0]]])
    weight = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 0.0]]])
    output = torch.stack([found, 0 * found, 0 * found, 0 * found], 1)
    _, counts = task.assess(lambda image: output, (0 * cover, cover, 0 * cover, 0 * cover, weight))
    np.testing.assert_array_equal(counts, [1, 1, 1])
    assert task.score(counts) == pytest.approx(0.5)


def test_stored_images_are_not_what_it_trains_on(tmp_path, capsys):
    assert main(["train", "particle-unet", "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 1
    assert "folder" in capsys.readouterr().err
    with pytest.raises(MicrotomoError, match="side"):
        load_run("particle-unet", data__side=50)
