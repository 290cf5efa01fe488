import json

import pytest

pytest.importorskip("microtomo.inverse.reconstruct")

from microtomo import list_methods, read_reconstruction, read_scan
from microtomo.cli.app import main
from microtomo.viz import gl


def test_demo_scores_and_draws_everything_even_without_gl(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gl, "offscreen_works", lambda: "libEGL was not found.")
    assert main(["demo", "-o", str(tmp_path / "demo"), "--samples", "1", "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    scores = {m["method"]: m for m in summary["methods"]}
    assert set(scores) == {m.name for m in list_methods(task="layers") if m.ready()}
    assert scores["map"]["test"] > 0.98
    assert scores["map"]["experimental"] > 0.98
    assert all(m["test"] > 0.5 for m in scores.values())
    assert said.err.count("libEGL was not found") == 1
    files = {p.name for p in (tmp_path / "demo").iterdir()}
    assert {"index.html", "scores.png", "perlin1_maps.png", "experimental_map.html", "perlin_scan.h5"} <= files
    assert read_scan(tmp_path / "demo" / "perlin_scan.h5").shape == (1, 31, 128, 128)
    assert read_reconstruction(tmp_path / "demo" / "experimental_map.h5").thickness.shape == (2, 128, 128)
    page = (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")
    assert "transport" in page
    assert f"{scores['map']['test']:.3f}" in page


def test_output_that_is_a_file_is_a_sentence(tmp_path, capsys):
    (tmp_path / "demo").write_text("mine")
    assert main(["demo", "-o", str(tmp_path / "demo"), "--samples", "1"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "demo").read_text() == "mine"
