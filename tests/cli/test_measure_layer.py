"""``measure layer``, ``segment --method layer-unet``: table, picture, page, clear words where there is no number."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo.cli.app import main
from microtomo.tem.layers.synthetic import Conditions, overcoat

HEADER = "image,layer,mean_px,sd_px,mean_nm,sd_nm,low_95_nm,high_95_nm,lines,three_line_px,status"
EASY = Conditions(size=128, pixel_nm=(0.1, 0.1), thickness_nm=(2.5, 3.5), dark=0, light=0, sticker=0, crossing=0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def band(width, degrees=0.0, shape=(200, 160), middle=80.0):
    """A band of a width across its normal, tilted from the vertical."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn = np.radians(degrees)
    return np.abs((x - middle) * np.cos(turn) - (y - shape[0] / 2) * np.sin(turn)) <= width / 2


def save(name, labels):
    Image.fromarray(np.asarray(labels, dtype=np.uint8)).save(name)


def rows(path="t.csv"):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def layer(*arguments):
    return main(["measure", "layer", *map(str, arguments), "-o", "t.csv"])


def test_a_mask_is_measured_along_its_normal_and_the_table_has_the_promised_columns():
    save("a_mask.png", 255 * band(20.0, 25))
    assert layer("a_mask.png", "--mask", "--pixel-nm", 0.05) == 0
    assert Path("t.csv").read_text().splitlines()[0] == HEADER
    (row,) = rows()
    assert (row["image"], row["layer"], row["status"]) == ("a_mask.png", "1", "ok")
    assert float(row["mean_px"]) == pytest.approx(20, rel=0.01)
    assert float(row["mean_nm"]) == pytest.approx(0.05 * float(row["mean_px"]), rel=1e-4)
    assert float(row["low_95_nm"]) < 1.0 < float(row["high_95_nm"])
    assert float(row["three_line_px"]) == pytest.approx(20 / np.cos(np.radians(25)), rel=0.02)
    assert int(row["lines"]) > 100


def test_only_the_largest_part_of_label_1_counts():
    labels = np.where(band(20.0), 1, 0) + np.where(band(30.0, middle=130), 2, 0)
    labels[5:12, 5:12] = 1
    save("a.png", labels)
    assert layer("a.png", "--mask", "--pixel-nm", 1) == 0
    (row,) = rows()
    assert float(row["mean_px"]) == pytest.approx(21, abs=0.5)  # 160 / 2 +- 10: columns 70 to 90
    assert (row["layer"], row["status"]) == ("1", "ok")


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        (np.zeros((200, 160)), "empty"),
        (band(12, middle=40) | band(14, middle=110), "two layers"),
        (band(20) & (np.arange(200)[:, None] < 120), "touches one side only"),
        (band(20) & (np.abs(np.arange(200)[:, None] - 100) < 60), "touches no side"),
    ],
)
def test_what_is_not_one_layer_has_a_status_and_no_number(labels, status, capsys):
    save("a.png", 255 * labels)
    assert layer("a.png", "--mask", "--pixel-nm", 0.1, "--json") == 0
    (row,) = rows()
    assert row["status"] == status
    assert not any(value for name, value in row.items() if name not in ("image", "layer", "status"))
    told = json.loads(capsys.readouterr().out)
    assert told["image"] == "a.png"
    assert (told["layers"][0]["status"], told["layers"][0]["mean_nm"]) == (status, None)
    assert told["layers"][0]["advice"].endswith(".")


def test_without_a_scale_there_are_pixels_and_no_nanometres():
    save("a.png", 255 * band(20.0))
    assert layer("a.png", "--mask") == 0
    (row,) = rows()
    assert row["status"] == "no scale"
    assert float(row["mean_px"]) == pytest.approx(21, abs=0.1)
    assert (row["mean_nm"], row["sd_nm"], row["low_95_nm"], row["high_95_nm"]) == ("", "", "", "")


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (band(20.0), ("--pixel-nm", -1), "give a positive"),
        (band(20.0), ("--shape", "round"), "choose auto, straight or curved"),
    ],
)
def test_wrong_options_are_answered_in_a_sentence(labels, options, said, capsys):
    save("a.png", 255 * labels)
    assert layer("a.png", "--mask", *options) == 1
    assert said in capsys.readouterr().err


def test_grey_levels_are_no_label_image(capsys):
    tifffile.imwrite("a.tif", np.linspace(0, 0.9, 64 * 64, dtype=np.float32).reshape(64, 64))
    assert layer("a.tif", "--mask") == 1
    assert "labels are whole numbers" in capsys.readouterr().err


def test_a_folder_of_images_gives_masks_one_table_pictures_and_one_page(capsys):
    Path("images").mkdir()
    for index, name in enumerate(("a_2026-03-01.tif", "b_20260214.tif", "c.tif")):
        image = np.round(255 * overcoat(12, index, EASY).image).astype(np.uint8)
        tifffile.imwrite(f"images/{name}", image, imagej=True, resolution=(10, 10), metadata={"unit": "nm"})
    os.utime("images/c.tif", (1_600_000_000, 1_600_000_000))  # 2020-09-13
    assert main(["segment", "images", "--method", "layer-unet", "-o", "masks"]) == 0
    for name in ("a_2026-03-01", "b_20260214", "c"):
        mask = np.asarray(Image.open(f"masks/{name}_mask.png"))
        assert set(np.unique(mask)) == {0, 255}
    capsys.readouterr()
    assert layer("images", "--picture", "pictures", "--report", "page.html", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    table = rows()
    assert [t["image"] for t in told] == ["a_2026-03-01.tif", "b_20260214.tif", "c.tif"]
    assert {row["image"] for row in table} == {t["image"] for t in told}
    assert all(float(row["mean_nm"]) == pytest.approx(0.1 * float(row["mean_px"]), rel=1e-3) for row in table)
    assert {path.name for path in Path("pictures").iterdir()} == {f"{Path(t['image']).stem}.png" for t in told}
    page = Path("page.html").read_text()
    assert page.count("data:image/png") == 5  # histogram, control chart, three pictures
    for date in ("2026-03-01", "2026-02-14", "2020-09-13"):
        assert f"<td>{date}</td>" in page
    assert not re.search(r"(src|href)=\"http", page)


def test_an_image_that_cannot_be_measured_stands_on_the_page(capsys):
    Path("masks").mkdir()
    save("masks/a.png", 255 * band(20.0))
    Image.fromarray(np.linspace(0, 0.9, 64 * 64, dtype=np.float32).reshape(64, 64)).save("masks/b.tif")
    save("masks/c.png", np.zeros((50, 50)))
    assert layer("masks", "--mask", "--pixel-nm", 0.1, "--report", "page.html") == 1
    assert "1 of 3 images could not be measured" in capsys.readouterr().err
    page = Path("page.html").read_text()
    assert "labels are whole numbers" in page
    assert "<td>empty</td>" in page
    assert [row["status"] for row in rows()] == ["ok", "empty"]
