"""The main job through the command line: generate, reconstruct, evaluate, with the real solvers."""

import json

import numpy as np
import pytest

from microtomo.cli.app import main
from microtomo.io.reconstructions import read_reconstruction
from microtomo.io.scans import read_scan
from microtomo.registry import list_methods
from microtomo.scan import Status

SOLVERS = [method.name for method in list_methods(task="layers") if not method.learned]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    flags = ["--samples", "2", "--size", "24x20", "--seed", "5", "--contrast", "published", "--workers", "1"]
    assert main(["generate", str(folder), *flags]) == 0
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", SOLVERS)
def test_every_method_from_data_set_to_scores(data_set, capsys, method):
    assert main(["reconstruct", str(data_set), "--method", method, "--noise", "0.02", "-o", "out.h5"]) == 0
    assert capsys.readouterr().out.startswith(f"{method} (published): 2 samples, ")
    rec = read_reconstruction("out.h5")
    assert rec.thickness.shape == rec.uncertainty.shape == (2, 2, 24, 20)
    assert rec.volume.shape == (2, 16, 24, 20)
    assert rec.chi_square.shape == rec.status.shape == (2, 24, 20)
    assert (rec.method, rec.forward, rec.noise) == (method, "published", pytest.approx(0.02))
    assert main(["evaluate", "out.h5", str(data_set), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 2
    assert told["miou"] > 0.5


@pytest.mark.parametrize("method", SOLVERS)
def test_a_sample_alone_is_reconstructed_as_in_the_set(data_set, method):
    flags = ["--method", method, "--noise", "0.02"]
    assert main(["reconstruct", str(data_set), *flags, "-o", "all.h5"]) == 0
    assert main(["reconstruct", str(data_set), *flags, "--batch", "1", "--samples", "1", "-o", "one.h5"]) == 0
    both, one = read_reconstruction("all.h5"), read_reconstruction("one.h5")
    assert np.array_equal(both.volume[1:], one.volume)
    assert np.allclose(both.thickness[1:], one.thickness, atol=1e-3)


def spoilt(data, how):
    data = data.copy()
    if how == "NaN":
        data[3, 2, 1] = np.nan
    elif how == "negative":
        data[3, 2, 1] = -0.5
    elif how == "counts":
        data *= 4000
    return data


@pytest.mark.parametrize(
    ("how", "words"), [("NaN", ("1", "NaN")), ("negative", ("1", "negative")), ("counts", ("normalise", "substrate"))]
)
def test_a_spoilt_signal_is_told_with_the_name_of_the_file(data_set, capsys, folder, how, words):
    np.save("spoilt.npy", spoilt(read_scan(data_set).data[0], how))
    assert main(["reconstruct", "spoilt.npy", "--stack", "au-al-si", "-o", "out.h5"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: spoilt.npy: ")
    assert all(word in told for word in words)
    assert not (folder / "out.h5").exists()


def test_an_unknown_method_or_option_is_told(data_set, capsys, folder):
    assert main(["reconstruct", str(data_set), "--method", "mpa", "-o", "out.h5"]) == 1
    assert "unknown method 'mpa'; did you mean" in capsys.readouterr().err
    assert main(["reconstruct", str(data_set), "--set", "wieght=2", "-o", "out.h5"]) == 1
    assert "wieght" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_layers_too_thick_to_see_through_have_a_status(data_set, capsys):
    np.save("opaque.npy", np.full((31, 8, 8), 0.9 / 0.49, np.float32))  # the level of bulk gold at every energy
    flags = [
        "--method",
        "likelihood",
        "--stack",
        "au-al-si",
        "--forward",
        "material",
        "--noise",
        "0.02",
        "-o",
        "out.h5",
    ]
    assert main(["reconstruct", "opaque.npy", *flags]) == 0
    rec = read_reconstruction("out.h5")
    assert np.all(rec.status != Status.OK)
    said = capsys.readouterr()
    assert "100.0% out of range" in said.out
    assert "warning: do not trust this reconstruction" in said.err
