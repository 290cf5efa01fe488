"""Detection and pixels of nanoparticles on data as it is published: boxes in shares of the image, labels, groups."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from microtomo.cli.app import main
from microtomo.reproduce.particles import detections, filter_scores, read_tiles
from microtomo.tem.particles.boxes import score

DISKS = ((20, 20, 9), (60, 30, 10), (40, 70, 8))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("images", "labels", "boxes"):
        os.mkdir(name)
    y, x = np.mgrid[:96, :96]
    mask = np.any([np.hypot(y - b, x - a) < r for a, b, r in DISKS], 0)
    for k in range(4):
        image = 150 - 80 * mask + np.random.default_rng(k).normal(0, 5, mask.shape)
        Image.fromarray(np.uint8(image)).save(f"images/t{k}.png")
        Image.fromarray(np.uint8(mask) * 255).save(f"labels/t{k}.png")
        lines = [f"0 {(a + 0.5) / 96} {(b + 0.5) / 96} {2 * r / 96} {2 * r / 96}" for a, b, r in DISKS]
        (tmp_path / "boxes" / f"t{k}.txt").write_text("\n".join(lines))
    (tmp_path / "groups.json").write_text(json.dumps({"groups": [["t0", "t2"]]}))
    return tmp_path


def test_disks_are_found_in_their_boxes():
    rows = list(detections(".", "gaussian-otsu"))
    total = score([row.agreement for row in rows])
    assert (total.f1, total.count_error) == (1, 0)
    assert main(["reproduce", "particles", ".", "--method", "gaussian-otsu"]) == 0


def test_missing_or_wrong_boxes_are_told(folder, capsys):
    (folder / "boxes" / "t1.txt").write_text("0 a b c d")
    assert main(["reproduce", "particles", "."]) == 1
    assert "t1.txt: a box is a line" in capsys.readouterr().err
    (folder / "boxes" / "t1.txt").unlink()
    assert main(["reproduce", "particles", "."]) == 1
    assert "t1.txt: is missing" in capsys.readouterr().err
    assert main(["reproduce", "particles", "images"]) == 1
    assert "neither boxes/ nor labels/" in capsys.readouterr().err


def test_tiles_of_one_place_stay_in_one_fold_and_the_filter_is_fitted(folder, capsys):
    tiles, groups = read_tiles(".")
    assert groups[0] == groups[2] != groups[1]
    assert filter_scores(tiles, groups, 2).f1 > 0.9
    for path in (folder / "boxes").iterdir():
        path.unlink()
    (folder / "boxes").rmdir()
    assert main(["reproduce", "particles", ".", "--folds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] == 4
