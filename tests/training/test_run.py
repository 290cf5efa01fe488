"""Runs from configuration to weights: repeatable, resumable, on one device or two."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Network
from microtomo.models.weights import load_network, read_card
from microtomo.training import run
from microtomo.training.run import run_training, train
from microtomo.training.task import load_run

SMALL = [
    "data.height=16", "data.width=16", "data.epoch=8", "data.validation=4", "optimiser.batch=4", "network.width=4",
    "network.head=posterior", "network.input=components", "precision=32-true", "accelerator=cpu",
]  # fmt: skip


def config_of(*settings, name="conv3", epochs=3):
    return load_run(name, None, [*SMALL, *settings], epochs=epochs)


def tensors(path):
    return {name: value for name, value in load_file(path).items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run of three epochs."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    return run_training(config_of(), folder).parent


def test_a_run_leaves_weights_card_table_curves_and_configuration(finished):
    config, card = read_card(finished / "weights.safetensors")
    assert (config.architecture, config.width) == ("conv3", 4)
    assert (card["samples"], card["epochs"], card["seed"]) == (24, 3, 1)
    assert {"data", "optimiser", "validation_miou", "training_seconds", "machine", "versions"} <= set(card)
    assert [row["epoch"] for row in rows(finished)] == ["1", "2", "3"]
    assert all(0 <= float(row["validation_miou"]) <= 1 for row in rows(finished))
    assert (finished / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((finished / "config.json").read_text())["epochs"] == 3
    assert list(finished.glob("tensorboard/events*"))
    assert load_network(finished / "weights.safetensors", Network).config == config


def test_training_moves_weights_and_lowers_the_loss(finished):
    losses = [float(row["loss"]) for row in rows(finished)]
    assert losses[-1] < losses[0]


def test_an_interrupted_run_goes_on_to_the_same_weights(finished, tmp_path, monkeypatch):
    folder = tmp_path / "cut"

    def cut(self, trainer, module):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(run.RunProgress, "on_train_epoch_start", cut)
    with pytest.raises(KeyboardInterrupt):
        run_training(config_of(), folder)
    assert not (folder / "weights.safetensors").exists()
    monkeypatch.undo()
    run_training(config_of(), folder)
    assert_same(tensors(folder / "weights.safetensors"), tensors(finished / "weights.safetensors"))
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "3"]


def test_a_finished_run_is_left_alone(finished):
    before = (finished / "weights.safetensors").stat().st_mtime_ns
    assert run_training(config_of(), finished) == finished / "weights.safetensors"
    assert (finished / "weights.safetensors").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_refused(finished, tmp_path):
    with pytest.raises(MicrotomoError, match="run with other settings"):
        run_training(config_of("seed=2"), finished)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MicrotomoError, match="not empty"):
        run_training(config_of(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_another_seed_gives_other_weights(finished, tmp_path):
    other = tensors(run_training(config_of("seed=2"), tmp_path / "other"))
    same = tensors(finished / "weights.safetensors")
    assert any(not torch.equal(value, same[name]) for name, value in other.items())


def test_training_from_a_data_set_on_disk(tmp_path):
    from microtomo.simulate.dataset import load_config
    from microtomo.simulate.generation import generate_dataset

    made = load_config(train=6, validation=3, height=16, width=16, forward="published", shard_samples=4)
    generate_dataset(made, tmp_path / "data", seed=5, workers=1)
    settings = [f"data.path={tmp_path / 'data'}", "network.forward=published"]
    weights = run_training(config_of(*settings, epochs=2), tmp_path / "run")
    assert [row["samples"] for row in rows(tmp_path / "run")] == ["6", "12"]  # there are six, whatever data.epoch says
    assert_same(tensors(weights), tensors(run_training(config_of(*settings, epochs=2), tmp_path / "again")))
    for wrong, sentence in (
        ([f"data.path={tmp_path / 'none'}"], "none"),
        ([settings[0], "network.forward=material"], "network.forward=published"),
    ):
        with pytest.raises(MicrotomoError, match=sentence):
            run_training(config_of(*wrong, epochs=1), tmp_path / f"bad{len(wrong)}")


def test_two_devices_share_the_work(tmp_path):
    """Two processes on the CPU, as a user starts them; weights and table are written once."""
    given = [part for setting in SMALL if setting != "accelerator=cpu" for part in ("--set", setting)]
    command = [sys.executable, "-m", "microtomo.cli.app", "train", "conv3", "--epochs", "2", "--accelerator", "cpu"]
    done = subprocess.run(
        [*command, "--devices", "2", "--json", "-o", str(tmp_path / "run"), *given], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 16
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2"]


def test_no_gpu_is_one_sentence(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MicrotomoError, match="use cpu"):
        run_training(load_run("conv3", None, SMALL[:-1], accelerator="gpu"), tmp_path / "run")


def test_the_plain_function_trains_as_the_configuration_says(finished, tmp_path):
    values = {key.replace(".", "__"): value for key, _, value in (setting.partition("=") for setting in SMALL)}
    weights = train("conv3", tmp_path / "plain", None, epochs=3, **values)
    assert_same(tensors(weights), tensors(finished / "weights.safetensors"))
    with pytest.raises(MicrotomoError, match=r"unknown network 'conv4'.*conv3"):
        train("conv4", tmp_path / "none")
