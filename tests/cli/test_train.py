"""``microtomo train`` and ``microtomo evaluate --all``."""

import json

import pytest

from microtomo.cli.app import main
from microtomo.inverse import leaderboard as board

SMALL = [
    part
    for setting in (
        "data.height=16", "data.width=16", "data.epoch=4", "data.validation=2", "network.width=4", "precision=32-true"
    )
    for part in ("--set", setting)
]  # fmt: skip


def test_a_network_is_trained_and_serves_reconstruct(tmp_path, capsys):
    run, scan, out = tmp_path / "run", tmp_path / "scan.h5", tmp_path / "out.h5"
    train = [
        "train",
        "conv3",
        "-o",
        str(run),
        "--epochs",
        "1",
        "--contrast",
        "material",
        "--accelerator",
        "cpu",
        *SMALL,
    ]
    assert main([*train, "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["samples"] == 4
    assert "epoch 1/1: loss" in said.err
    assert main(["generate", str(scan), "--samples", "1", "--size", "16", "--forward", "material"]) == 0
    weights = f"weights={told['weights']}"
    assert main(["reconstruct", str(scan), "--method", "conv3", "--set", weights, "-o", str(out)]) == 0
    assert main(["evaluate", str(out), str(scan), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["method"] == "conv3"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["unett"], "unknown network 'unett'"),
        (["conv3", "--set", "network.wdth=3"], "unknown key network.wdth"),
        (["conv3", "--config", "none.toml"], "cannot be read"),
        (["conv3", "--data", "none"], "none"),
    ],
)
def test_wrong_usage_is_a_sentence(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


def test_no_weights_for_a_contrast_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("microtomo.models.weights.FOLDER", tmp_path)
    scan = tmp_path / "scan.h5"
    assert main(["generate", str(scan), "--samples", "1", "--size", "8"]) == 0
    capsys.readouterr()
    assert main(["reconstruct", str(scan), "--method", "uvnet", "-o", str(tmp_path / "out.h5")]) == 1
    said = capsys.readouterr().err
    assert "uvnet has no weights for forward model transport" in said
    assert "microtomo train uvnet" in said
    assert not (tmp_path / "out.h5").exists()


def test_the_leaderboard_has_every_method_in_every_trial(capsys, monkeypatch):
    trials = [board.Trial("test set", "perlin", "published", 0.02)]
    monkeypatch.setattr(board, "TRIALS", [*trials, board.Trial("experimental", "experimental", "published", 0.02)])
    assert main(["evaluate", "--all", "--method", "[lt]*", "--samples", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = {(entry["trial"], entry["method"]) for entry in told["entries"]}
    assert found == {(t, m) for t in ("test set", "experimental") for m in ("likelihood", "tikhonov")}
    published = {entry["method"]: entry["published"] for entry in told["entries"] if entry["trial"] == "test set"}
    assert published == {"likelihood": None, "tikhonov": 0.617}
    assert all(0.5 < entry["miou"] < 1 for entry in told["entries"])
    assert main(["evaluate", "--all", "--method", "tikhonov", "--samples", "1"]) == 0
    assert "tikhonov" in capsys.readouterr().out


def test_evaluate_wants_two_files_or_all(capsys):
    assert main(["evaluate"]) == 2
    assert main(["evaluate", "--all", "a.h5", "b.h5"]) == 2
    assert main(["evaluate", "--all", "--method", "zzz"]) == 1
    assert "no method for task layers matches 'zzz'" in capsys.readouterr().err


def test_interrupted_training_says_what_stays(tmp_path, capsys, monkeypatch):
    """Its checkpoints stay, whatever other verbs do with unfinished output."""

    def interrupted(config, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("microtomo.training.run.run_training", interrupted)
    assert main(["train", "conv3", "-o", str(tmp_path / "run")]) == 130
    told = capsys.readouterr().err
    assert told == f"interrupted: finished epochs stay in {tmp_path / 'run'}, the same command goes on from there\n"
