"""``microtomo measure atoms``, ``sort``, ``compress`` and ``expand``."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo.cli.app import main
from microtomo.tem.graphene.synthetic import Conditions, micrograph

GOOD = Conditions(pixel_nm=(0.04, 0.04), defocus_nm=(5, 6), dose_per_a2=(1e4, 1e4), strain=(0, 0), hole=0, clean=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def sample():
    return micrograph(2, 0, GOOD)


def rows(name):
    return list(csv.DictReader(Path(name).read_text().splitlines()))


def test_atoms_and_bonds_are_tabled_and_drawn(sample, capsys):
    tifffile.imwrite("a.tif", sample.image)
    arguments = ["measure", "atoms", "a.tif", "-o", "atoms.csv", "--bonds", "bonds.csv", "--picture", "atoms.png"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pixel_nm"] == pytest.approx(0.04, rel=0.02)
    atoms, bonds = (rows(name) for name in ("atoms.csv", "bonds.csv"))
    assert len(atoms) == told["atoms"] > 0.8 * len(sample.atoms)
    assert len(bonds) == told["bonds"]
    assert float(atoms[5]["x_nm"]) == pytest.approx(float(atoms[5]["x_px"]) * told["pixel_nm"], abs=1e-3)
    length = np.array([float(b["length_nm"]) for b in bonds])
    assert np.median(length) == pytest.approx(0.142, rel=0.03)
    assert all(0 <= float(b["angle_modulo_60"]) <= 60 for b in bonds)
    assert np.asarray(Image.open("atoms.png")).shape[0] > 500


def test_a_mask_given_is_the_one_used(sample, capsys):
    tifffile.imwrite("a.tif", sample.image)
    Image.fromarray(np.uint8(np.mgrid[:256, :256][0] < 128) * 255).save("m.png")
    assert main(["measure", "atoms", "a.tif", "-o", "atoms.csv", "--mask", "m.png"]) == 0
    assert "50.0% contaminated" in capsys.readouterr().out
    assert min(float(a["y_px"]) for a in rows("atoms.csv")) > 127


def test_what_cannot_be_measured_is_told(sample, capsys):
    tifffile.imwrite("a.tif", sample.image)
    tifffile.imwrite("noise.tif", np.float32(100 + np.random.default_rng(0).standard_normal((64, 64))))
    for arguments, said in (
        (["atoms", "noise.tif", "-o", "o.csv"], "noise.tif: no graphene lattice is seen"),
        (["atoms", "a.tif", "-o", "none/o.csv"], "none is no folder"),
        (["atoms", "a.tif", "-o", "a.tif"], "is the input itself"),
        (["atoms", "a.tif", "-o", "o.csv", "--method", "map"], "'map' is for task layers, not for contaminant"),
    ):
        assert main(["measure", *arguments]) == 1
        assert said in capsys.readouterr().err
    assert not os.path.exists("o.csv")
    assert main(["measure", "atom", "a.tif", "-o", "o.csv"]) == 2
    assert "Did you mean 'atoms'" in capsys.readouterr().err


def test_a_folder_is_measured_into_one_table_with_the_names_of_its_images(sample, capsys):
    os.mkdir("in")
    for name in ("one", "two"):
        tifffile.imwrite(f"in/{name}.tif", sample.image)
    arguments = ["measure", "atoms", "in", "-o", "atoms.csv", "--picture", "pictures", "--method", "bragg"]
    assert main(arguments) == 0
    names = [row["image"] for row in rows("atoms.csv")]
    assert set(names) == {"one.tif", "two.tif"}
    assert sorted(os.listdir("pictures")) == ["one.png", "two.png"]
    capsys.readouterr()
    tifffile.imwrite("in/noise.tif", np.float32(100 + np.random.default_rng(0).standard_normal((64, 64))))
    assert main([*arguments, "--force"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "warning: in/noise.tif: no graphene lattice" in said[0]
    assert said[-1] == "error: 1 of 3 images could not be measured, see above"
    assert [row["image"] for row in rows("atoms.csv")] == names


def covered(share, seed=0):
    """A lattice, its upper ``share`` disordered."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128]
    image = 1000 + 150 * (np.cos(0.7 * x + 0.2 * y) + np.cos(0.75 * y - 0.1 * x))
    return (image + (30 + 500 * (y < share * 128)) * rng.standard_normal((128, 128))).clip(0).astype(np.uint16)


def test_images_are_ordered_by_usable_area(capsys):
    os.mkdir("in")
    for name, share in (("a", 0.4), ("b", 0.1), ("c", 0.25)):
        tifffile.imwrite(f"in/{name}.tif", covered(share))
    assert main(["sort", "in", "-o", "order.csv", "--method", "bragg", "--json"]) == 0
    assert [row["image"] for row in json.loads(capsys.readouterr().out)] == ["b.tif", "c.tif", "a.tif"]
    order = rows("order.csv")
    assert [row["rank"] for row in order] == ["1", "2", "3"]
    assert float(order[2]["usable_share"]) == pytest.approx(0.6, abs=0.1)
    assert main(["sort", "in", "--method", "bragg"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("b.tif")
    assert main(["sort", "."]) == 1
    assert "holds no images" in capsys.readouterr().err


@pytest.mark.parametrize("keep", ["graphene", "contaminant"])
def test_what_is_kept_comes_back_exactly_from_a_smaller_file(keep, capsys):
    image = covered(0.4)
    tifffile.imwrite("a.tif", image)
    assert main(["compress", "a.tif", "-o", "a.npz", "--keep", keep, "--method", "bragg", "--json"]) == 0
    ratio = json.loads(capsys.readouterr().out)["ratio"]
    assert ratio == pytest.approx(1 / 0.6 if keep == "graphene" else 1 / 0.4, rel=0.2)
    assert Path("a.npz").stat().st_size < image.nbytes / ratio + 2000
    assert main(["expand", "a.npz", "-o", "back.tif"]) == 0
    back = tifffile.imread("back.tif")
    assert back.dtype == np.uint16
    surely = slice(80, None) if keep == "graphene" else slice(0, 35)
    np.testing.assert_array_equal(back[surely], image[surely])


def test_folders_are_compressed_and_wrong_names_told(capsys):
    os.mkdir("in")
    tifffile.imwrite("in/a.tif", covered(0.3))
    assert main(["compress", "in", "-o", "out"]) == 0
    assert os.listdir("out") == ["a.npz"]
    assert "times smaller" in capsys.readouterr().out
    Path("text.npz").write_text("hello")
    for arguments, said in (
        (["compress", "in/a.tif", "-o", "a.zip"], "written as .npz"),
        (["compress", "in/a.tif", "-o", "a.npz", "--keep", "graphen"], "did you mean graphene"),
        (["compress", "in", "-o", "in/a.tif"], "is the input itself"),
        (["expand", "text.npz", "-o", "a.tif"], "text.npz: holds Python objects or is no NumPy file"),
        (["expand", "out/a.npz", "-o", "a.png"], "written as .tif"),
    ):
        assert main(arguments) == 1
        assert said in capsys.readouterr().err


def test_atoms_too_coarse_to_resolve_are_told(capsys):
    coarse = micrograph(1, 0, replace(GOOD, pixel_nm=(0.1, 0.1)))
    tifffile.imwrite("a.tif", coarse.image)
    assert main(["measure", "atoms", "a.tif", "-o", "o.csv", "--pixel-nm", "0.1"]) == 1
    assert "do not resolve atoms" in capsys.readouterr().err
