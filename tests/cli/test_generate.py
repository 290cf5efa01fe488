import json
import os
import pty
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from microtomo.cli.app import app

TINY = ("--size", "8x12")


def run(*arguments):
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def test_folder(tmp_path):
    result = run(tmp_path / "set", "--samples", 3, "--seed", 2, *TINY)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'set'}\n"
    assert "3 samples, 3 written" in result.stderr
    with h5py.File(tmp_path / "set/index.h5") as file:
        assert file["entry/data/data"].shape == (3, 31, 8, 12)


def test_single_file_with_options(tmp_path):
    out = tmp_path / "set.h5"
    result = run(
        out, "--samples", 2, "--noise", 0.1, "--contrast", "published", "--dose", 50, "--dtype", "float16",
        "--structures", "lithography=0.5,continuous", "--set", "pixel_nm=4", "--json", *TINY,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["samples"], told["written"], told["bytes"]) == (2, 2, out.stat().st_size)
    with h5py.File(out) as file:
        entry = file["entry"]
        assert entry.attrs["contrast"] == "published"
        assert entry.attrs["noise"] == pytest.approx((0.1**2 + 1 / 50) ** 0.5)
        assert entry["data/data"].dtype == np.float16
        assert entry["data/x"][1] == 4
        assert json.loads(entry.attrs["config"])["structures"] == {"lithography": 0.5, "continuous": 1.0}


def test_splits(tmp_path):
    result = run(tmp_path / "set", "--train", 3, "--validation", 2, "--test", 1, *TINY)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["dataset.json", "test", "train", "validation"]


def test_dry_run_of_the_reference_set(tmp_path):
    arguments = (tmp_path / "set", "--train", 9400, "--validation", 1000, "--test", 1000, "--dry-run")
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "11400 samples, 11400 to write\n24.66 GB on disk" in result.stdout  # 11400 x 128 x 128 x 33 x 4 bytes
    assert not list(tmp_path.iterdir())
    told = json.loads(run(*arguments, "--json").stdout)
    assert told["samples"] == 11400
    assert told["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 1, "the data set is empty: give --samples"),
        (("--samples", 0), 2, "--samples"),
        (("--samples", 3, "--train", 2), 1, "either samples or train"),
        (("--samples", 3, "--size", "8*8"), 2, "8*8"),
        (("--samples", 3, "--structures", "perlin=much"), 2, "lithography=0.3"),
        (("--samples", 3, "--structures", "perln"), 1, "did you mean perlin"),
        (("--samples", 3, "--stack", "gold"), 1, "unknown stack 'gold'"),
        (("--samples", 3, "--noise", -1), 1, "detector.noise"),
        (("--samples", 3, "--contrast", "phase"), 1, "forward"),
        (("--samples", 3, "--set", "sise=3"), 1, "unknown key sise"),
        (("--samples", 3, "--config", "/nowhere.toml"), 1, "/nowhere.toml: cannot be read"),
    ],
)
def test_bad_usage(tmp_path, arguments, code, sentence):
    result = run(tmp_path / "set", *arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_what_was_generated_reconstructs_and_evaluates(tmp_path):
    assert run(tmp_path / "set", "--samples", 2, *TINY).exit_code == 0
    runner = CliRunner()
    for arguments in (
        ["reconstruct", str(tmp_path / "set"), "--method", "likelihood", "-o", str(tmp_path / "rec.h5")],
        ["evaluate", str(tmp_path / "rec.h5"), str(tmp_path / "set"), "--json"],
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, result.stderr
    assert 0 < json.loads(result.stdout)["miou"] <= 1


def test_interrupt_is_a_sentence_and_goes_on(tmp_path):
    out = tmp_path / "set"
    command = [sys.executable, "-m", "microtomo.cli.app", "generate", str(out), "--samples", "2000", "--size", "64"]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(out.glob("shard-*.h5")) and time.monotonic() < end:
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    _, told = job.communicate(timeout=30)
    assert job.returncode == 130
    assert told == f"interrupted: finished shards stay in {out}, the same command goes on from there\n"
    assert not list(out.glob(".*"))
    assert not (out / "index.h5").exists()
    result = run(out, "--samples", 2000, "--size", 64, "--json")
    assert 0 < json.loads(result.stdout)["written"] < 2000


def test_bar_on_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "microtomo.cli.app", "generate", str(tmp_path / "set"), "--samples", "150"]
    job = subprocess.Popen([*command, "--size", "64"], stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    told = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        told += piece
    assert job.wait(timeout=30) == 0
    assert b"samples/s" in told
    assert b"150 of 150 samples" in told
