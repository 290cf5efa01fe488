"""A run that was cut off goes on to the same weights, wherever it was cut."""

import fcntl
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from microtomo.errors import MicrotomoError
from microtomo.training import run
from microtomo.training.checkpoints import LAST
from microtomo.training.progress import read_table
from microtomo.training.run import run_training
from microtomo.training.task import load_run

SMALL = [
    "data.height=16", "data.width=16", "data.epoch=4", "data.validation=1", "optimiser.batch=2", "network.width=4",
    "network.levels=1", "network.dropout=0.5", "precision=32-true", "accelerator=cpu",
]  # fmt: skip


def config_of(*settings, epochs=3):
    return load_run("unet", None, [*SMALL, *settings], epochs=epochs)


def assert_same(one, other):
    one, other = load_file(one), load_file(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def cut_in(monkeypatch, epoch, batch=0):
    """The next run is interrupted before a step of an epoch, both counted from 0."""

    def cut(self, trainer, module, outputs, index):
        if (trainer.current_epoch, index) == (epoch, batch):
            raise KeyboardInterrupt

    monkeypatch.setattr(run.RunProgress, "on_train_batch_start", cut)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of a network with dropout, which does not get better after its first epoch."""
    return run_training(config_of(), tmp_path_factory.mktemp("resume") / "whole")


@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 1), (2, 0)])
def test_a_run_with_dropout_goes_on_to_the_same_weights(whole, tmp_path, monkeypatch, epoch, batch):
    cut_in(monkeypatch, epoch, batch)
    with pytest.raises(KeyboardInterrupt):
        run_training(config_of(), tmp_path / "cut")
    monkeypatch.undo()
    shutil.move(tmp_path / "cut", tmp_path / "moved")
    assert_same(run_training(config_of(), tmp_path / "moved"), whole)
    one, other = read_table(tmp_path / "moved" / "metrics.csv"), read_table(whole.parent / "metrics.csv")
    assert [{**row, "seconds": 0} for row in one] == [{**row, "seconds": 0} for row in other]


def test_dropout_differs_from_step_to_step(tmp_path):
    """The seed of a step is its own: without dropout in between, two steps on one sample would be alike."""
    from microtomo.training.checkpoints import SeedOfStep

    class Trainer:
        global_step, global_rank = 0, 0

    masks = []
    for step, rank in ((0, 0), (1, 0), (0, 1), (0, 0)):
        Trainer.global_step, Trainer.global_rank = step, rank
        SeedOfStep(7).on_train_batch_start(Trainer, None, None, 0)
        masks.append(torch.rand(8))
    assert torch.equal(masks[0], masks[3])
    assert len({tuple(mask.tolist()) for mask in masks}) == 3


def test_the_last_epoch_is_kept_though_it_is_not_the_best(tmp_path, monkeypatch):
    """A rate of learning near zero: no epoch is better than the first."""
    config = config_of("optimiser.learning_rate=1e-12", "optimiser.weight_decay=0")
    cut_in(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path)
    last = torch.load(tmp_path / "checkpoints" / LAST, weights_only=True)
    assert last["epoch"] == 1
    assert len(read_table(tmp_path / "metrics.csv")) == 2


def test_a_run_that_ran_out_of_patience_stays_stopped(tmp_path, monkeypatch):
    """Killed after its last epoch, before the weights were written."""
    config = config_of("optimiser.patience=1", "optimiser.learning_rate=1e-12", epochs=6)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_conclude", killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path)
    before = read_table(tmp_path / "metrics.csv")
    assert len(before) < 6
    monkeypatch.undo()
    run_training(config, tmp_path)
    assert read_table(tmp_path / "metrics.csv") == before


def test_a_folder_cut_before_its_configuration_is_usable(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.123.partial").write_text('{"epo')
    assert run_training(config_of(epochs=1), tmp_path / "run").is_file()
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_two_runs_in_one_folder_refuse_each_other(tmp_path):
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(MicrotomoError, match="another run is writing"):
        run_training(config_of(), tmp_path)
    os.close(held)
