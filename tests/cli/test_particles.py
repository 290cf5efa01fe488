"""``microtomo measure particles``: the table, the distribution, the page, and what an interruption leaves."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo.cli import measuring
from microtomo.cli.app import main
from microtomo.tem.particles.synthetic import Conditions, particle_image

COLUMNS = [
    "image",
    "x",
    "y",
    "x0",
    "y0",
    "x1",
    "y1",
    "area_px",
    "diameter_px",
    "diameter_nm",
    "diameter_sd_px",
    "border",
]
CLEAR = Conditions(
    size=(160, 192),
    diameter_px=(10, 14),
    contrast=(2, 3),
    covered=(0.1, 0.15),
    dose_per_a2=(1e4, 2e4),
    spread=(0.1, 0.2),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two images of clear particles in ``frames``, and a mask of three disks."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("frames")
    for k in range(2):
        tifffile.imwrite(f"frames/f{k}.tif", made(k).image)
    y, x = np.mgrid[:80, :100]
    disks = [np.hypot(y - b, x - a) < r for b, a, r in ((20, 30, 10), (20, 51, 10), (60, 99, 8))]
    Image.fromarray(np.uint8(np.any(disks, 0)) * 255).save("mask.png")
    return tmp_path


def made(k):
    return particle_image(11, k, CLEAR)


def rows(name="p.csv"):
    return list(csv.DictReader(Path(name).read_text().splitlines()))


def test_every_particle_of_a_folder_has_a_row_and_sizes_are_those_of_the_truth(capsys):
    arguments = ["measure", "particles", "frames", "-o", "p.csv", "--pixel-nm", "0.5"]
    assert main([*arguments, "--histogram", "h.png", "--report", "page.html", "--picture", "pictures"]) == 0
    said = capsys.readouterr().out.splitlines()
    table = rows()
    assert list(table[0])[:12] == COLUMNS
    for k in range(2):
        truth, own = made(k), [row for row in table if row["image"] == f"f{k}.tif"]
        diameters = truth.particles.diameters()[~truth.border]
        found = [float(row["diameter_px"]) for row in own if row["border"] == "0"]
        assert len(found) == pytest.approx(len(diameters), rel=0.2)
        assert np.median(found) == pytest.approx(np.median(diameters), rel=0.1)
        centres = np.array([(float(row["x"]), float(row["y"])) for row in own])
        nearest = np.hypot(*(centres[:, None] - truth.particles.centres[None, :, ::-1]).transpose(2, 0, 1)).min(1)
        assert np.median(nearest) < 1
    for row in table:
        x, y, x0, y0, x1, y1 = (float(row[name]) for name in COLUMNS[1:7])
        assert x0 < x < x1
        assert y0 < y < y1
        assert float(row["diameter_nm"]) == pytest.approx(0.5 * float(row["diameter_px"]), abs=1e-3)
    whole = [float(row["diameter_nm"]) for row in table if row["border"] == "0"]
    assert said[-1].startswith(f"all images: {len(whole)} that no border cuts: mean {np.mean(whole):.3g} nm")
    assert sorted(os.listdir("pictures")) == ["f0.png", "f1.png"]
    assert Path("page.html").read_text().count("<figure") == 3
    assert sorted(p.name for p in Path().iterdir() if p.name[0] == ".") == []


def test_a_mask_alone_is_measured_and_touching_disks_are_parted(capsys):
    assert main(["measure", "particles", "mask.png", "--mask", "-o", "p.csv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["particles"], told["cut_by_border"]) == (3, 1)
    first, second, cut = sorted(rows(), key=lambda row: float(row["x"]))
    for row, middle in ((first, 30), (second, 51)):
        assert float(row["x"]) == pytest.approx(middle, abs=0.6)
        assert float(row["diameter_px"]) == pytest.approx(20, rel=0.04)
        assert row["border"] == "0"
        assert row["diameter_nm"] == ""
        # an outline that is known to the pixel: a diameter to 2 / sqrt(12) pixels
        assert float(row["diameter_sd_px"]) == pytest.approx(0.577, abs=0.02)
    assert cut["border"] == "1"
    assert float(cut["x1"]) >= 99
    assert told["mean_px"] == pytest.approx(np.mean([float(row["diameter_px"]) for row in (first, second)]), abs=1e-3)


def test_the_pixel_size_is_the_file_s_where_it_says_one():
    tifffile.imwrite("a.tif", made(0).image, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "nm"})
    assert main(["measure", "particles", "a.tif", "-o", "p.csv"]) == 0
    assert all(float(r["diameter_nm"]) == pytest.approx(float(r["diameter_px"]) / 2, abs=1e-3) for r in rows())


def test_an_interrupted_folder_goes_on_and_other_settings_start_anew(monkeypatch, capsys):
    work, measured = measuring._measured, []

    def stops(known, path, mask, **options):
        if len(measured) == 1:
            raise KeyboardInterrupt
        measured.append(path.name)
        return work(known, path, mask, **options)

    arguments = ["measure", "particles", "frames", "-o", "p.csv", "--method", "gaussian-otsu"]
    monkeypatch.setattr(measuring, "_measured", stops)
    assert main(arguments) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not Path("p.csv").exists()
    measured.clear()
    monkeypatch.setattr(measuring, "_measured", lambda k, p, m, **o: measured.append(p.name) or work(k, p, m, **o))
    assert main([*arguments, "--pixel-nm", "2", "-o", "q.csv"]) == 0
    assert measured == ["f0.tif", "f1.tif"]
    measured.clear()
    assert main(arguments) == 0
    assert measured == ["f1.tif"]
    assert {row["image"] for row in rows()} == {"f0.tif", "f1.tif"}
    assert [p.name for p in Path().iterdir() if p.name[0] == "."] == []


def test_an_image_without_particles_is_said_and_gives_an_empty_table(capsys):
    Image.fromarray(np.uint8(np.mgrid[:64, :64][0] < 1)).save("m.png")  # a line of one pixel is no particle
    assert main(["measure", "particles", "m.png", "--mask", "-o", "p.csv", "--histogram", "h.png"]) == 0
    said = capsys.readouterr()
    assert "m.png: " in said.out
    assert Path("p.csv").read_text().startswith(",".join(COLUMNS))
