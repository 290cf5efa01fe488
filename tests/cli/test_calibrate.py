"""``microtomo calibrate``: standards in, stack file, page and sentences out."""

import json
import re

import numpy as np
import pytest
import torch

from microtomo.cli.app import main
from microtomo.detectors import StackDetector
from microtomo.io.scans import write_scan
from microtomo.materials import load_stack, make_stack
from microtomo.physics.forward import forward_model
from microtomo.scan import Scan

TABLE = {
    "name": "gold",
    "substrate": "Si",
    "layers": [{"material": "Au", "max_nm": 20}],
    "energies_kev": [5, 8, 12, 18, 25],
}


@pytest.fixture
def standards(tmp_path):
    stack = make_stack(TABLE)
    seen = stack.model_copy(update={"detector": StackDetector(response="energy", threshold_kev=2.1)})
    known = np.repeat([[[4.0, 16.0]]], 16, 1).repeat(16, 2)
    signal = forward_model("transport", seen)(torch.from_numpy(known)).numpy()
    signal = signal * (1 + 0.02 * np.random.default_rng(0).normal(size=signal.shape))
    write_scan(tmp_path / "scan.h5", Scan(signal.astype("f4"), stack.energies_kev, stack=stack, truth=known))
    (tmp_path / "films.csv").write_text("rows,columns,Au\n0:16,0:16,4\n0:16,16:32,16\n")
    return tmp_path


def test_a_table_of_films_becomes_a_stack_file_and_a_page(standards, capsys):
    out, page = standards / "mine.toml", standards / "fit.html"
    call = ["calibrate", str(standards / "scan.h5"), "--known", str(standards / "films.csv"), "-o", str(out), "--json"]
    assert main([*call, "--fit", "threshold", "--response", "energy", "--report", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    found = told["parameters"][0]
    assert abs(found["value"] - 2.1) < 3 * found["deviation"] < 1
    stack = load_stack(out)
    assert stack.detector.threshold_kev == found["value"]
    assert out.read_text().startswith("# calibrated with scan.h5 and films.csv\n# detector threshold 2.")
    html = page.read_text()
    assert "detector threshold, keV" in html
    assert "data:image/png;base64" in html


def test_maps_of_thickness_serve_and_the_table_is_printed(standards, capsys):
    scan, out = str(standards / "scan.h5"), standards / "mine.toml"
    assert main(["calibrate", scan, "--known", scan, "-o", str(out), "--fit", "density", "--response", "counts"]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "gold: 2 standards, a detector that counts electrons" in said
    assert "density of Au, g/cm3" in said
    assert load_stack(out).detector.response == "counts"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "x.json"], "end its name in .toml"),
        (["-o", "x.toml", "--report", "x.pdf"], "end the name in .html or .png"),
        (["-o", "x.toml", "--exit-angles", "wide"], "write degrees such as 10:40"),
        (["-o", "x.toml", "--exit-angles", "40:10"], "0 <= first < second <= 90"),
        (["-o", "x.toml", "--fit", "treshold"], "did you mean threshold"),
        (["-o", "x.toml", "--known", "nothing.csv"], "nothing.csv: cannot be read"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(standards, capsys, monkeypatch, options, said):
    monkeypatch.chdir(standards)
    known = [] if "--known" in options else ["--known", "films.csv"]
    assert main(["calibrate", "scan.h5", *known, *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (standards / "x.toml").exists()
