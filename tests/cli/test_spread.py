"""``--spread`` from end to end: simulate with it, reconstruct with and without it."""

import json

import numpy as np
import pytest

from microtomo.cli.app import main
from microtomo.io.reconstructions import read_reconstruction
from microtomo.io.scans import read_truth
from microtomo.physics.spread_kernels import SpreadKernels, write_kernels

KEV = np.array([5.0, 7.0, 9.0, 12.0, 16.0, 22.0, 30.0])
STACK = """
name = "al-si"
substrate = "Si"
energies_kev = [5, 7, 9, 12, 16, 22, 30]
[[layers]]
material = "Al"
max_nm = 60
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "al-si.toml").write_text(STACK)
    radii = (6.0 * KEV)[:, None, None] * np.array([[0.5, 0.8, 1.2, 2.0]])
    share = np.full((KEV.size, 1), 0.18)
    kernels = SpreadKernels(KEV, share, KEV[:, None] * 0.7, radii, np.zeros(0), np.zeros((0, KEV.size, 4)))
    write_kernels("kernels.npz", kernels)
    return tmp_path


def test_generate_and_reconstruct_with_spread(folder, capsys):
    common = ("--forward", "transport", "--spread", "kernels.npz")
    settings = ("--samples", "1", "--size", "28x36", "--stack", "al-si.toml", "--noise", "0.01", "--set", "pixel_nm=12")
    assert main(["generate", "set.h5", *settings, *common, "--structures", "lithography"]) == 0
    assert main(["reconstruct", "set.h5", *common, "-o", "with.h5", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["correction"]["status"] == ["converged"]
    assert main(["reconstruct", "set.h5", "--forward", "transport", "-o", "without.h5"]) == 0
    assert "is not corrected: pass --spread" in capsys.readouterr().err
    truth = np.asarray(read_truth("set.h5")[0])
    errors = [
        np.sqrt(np.mean((np.asarray(read_reconstruction(name).thickness) - truth) ** 2))
        for name in ("with.h5", "without.h5")
    ]
    assert errors[0] < 3.0
    assert errors[0] < 0.3 * errors[1]


def test_spread_of_a_forward_model_that_knows_none_is_a_sentence(folder, capsys):
    assert main(["generate", "set.h5", "--samples", "1", "--forward", "material", "--spread", "Si"]) == 1
    err = capsys.readouterr().err
    assert "use --forward transport" in err
    assert err.count("\n") == 1
