"""``microtomo design``: what it prints, writes and refuses."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from microtomo.cli.app import main

FEW = ("--energies", "5:14:3", "--images", "2", "--thickness", "8,75", "--thickness", "4,120")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys, *arguments):
    assert main(["design", *FEW, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_choice_the_curve_and_the_best_dose(capsys):
    found = told(capsys)
    assert found["candidates_kev"] == [5, 8, 11, 14]
    assert found["layers"] == ["Au", "Al"]
    assert [entry["images"] for entry in found["curve"]] == [1, 2, 3, 4]
    assert found["curve"][1]["best"] == found["best"]
    assert len(found["best"]["energies_kev"]) == 2
    assert found["evenly_spaced"]["energies_kev"] == [5, 14]
    assert sum(found["best_dose"]["share"]) == pytest.approx(1, abs=1e-3)
    same = found["curve"][3]  # all of them: there is nothing to choose, and the doses are the same
    assert same["best"] == same["evenly_spaced"] == same["best_at_equal_dose_an_image"] == found["all"]
    assert found["check"] is None


def test_half_the_dose_an_image_is_the_square_root_of_two_worse(capsys):
    total, image = (told(capsys, "--dose", dose) for dose in ("total", "image"))
    ratio = np.array(image["curve"][1]["best_at_equal_dose_an_image"]["error_nm"])
    ratio = ratio / total["curve"][1]["best_at_equal_dose_an_image"]["error_nm"]
    assert ratio == pytest.approx([1, 1])  # both runs tell both curves
    assert image["best"] == image["curve"][1]["best_at_equal_dose_an_image"]
    gold = image["evenly_spaced"]["error_nm"][0] / total["evenly_spaced"]["error_nm"][0]
    assert gold == pytest.approx(2**0.5, rel=0.02)  # but for the prior and the width of the scatter


def test_electrons_are_shot_noise(capsys):
    shot = told(capsys, "--electrons", "2500")
    assert (shot["noise"], shot["electrons_per_pixel"]) == (0, 2500)
    both = told(capsys, "--electrons", "2500", "--noise", "0.02")
    assert both["best"]["error_nm"][0] > shot["best"]["error_nm"][0]


def test_every_kind_of_file_is_written(capsys, folder):
    for name in ("d.png", "d.html", "d.json"):
        assert main(["design", *FEW, "-o", name]) == 0
    said = capsys.readouterr()
    assert "Best 2, equal dose a scan" in said.out
    assert "written to d.html" in said.err
    assert min(Image.open("d.png").size) > 800
    assert json.loads((folder / "d.json").read_text())["best"]["energies_kev"]
    page = (folder / "d.html").read_text(encoding="utf-8")
    HTMLParser().feed(page)
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")


def test_check_reconstructs_with_the_chosen_energies(capsys):
    found = told(capsys, "--check", "1")
    results = found["check"]["results"]
    assert {(r["structure"], r["name"], r["method"]) for r in results} == {
        (structure, name, method)
        for structure in ("patches", "lithography")
        for name in ("best", "evenly spaced", "all")
        for method in ("likelihood", "map")
    }
    assert all(r["energies_kev"] == found["best"]["energies_kev"] for r in results if r["name"] == "best")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "d.txt"], "end the name in .html, .png, .json"),
        (["-o", "nowhere/d.png"], "nowhere is no folder"),
        (["--energies", "5:5"], "there are 1 energies"),
        (["--energies", "5,4,9"], "must increase strictly"),
        (["--energies", "x"], "write 5:35"),
        (["--thickness", "5"], "a number for each layer, bottom to top: Au 0 to 15, Al 0 to 150 nm"),
        (["--thickness", "5,200"], "a number for each layer"),
        (["--thickness", "5,nan"], "a number for each layer"),
        (["--noise", "0"], "give a relative level above 0"),
        (["--electrons", "-1"], "give a number above 0"),
        (["--dose", "half"], "use total or image"),
        (["--contrast", "wrong"], "unknown forward model 'wrong'"),
        (["--images", "32"], "choose at most 31"),
        (["--stack", "au-al"], "did you mean au-al-si"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(capsys, folder, arguments, sentence):
    assert main(["design", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.strip().splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert not list(folder.iterdir())
