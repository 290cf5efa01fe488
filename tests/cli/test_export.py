"""``export``, ``compare`` and what notebooks show."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from making import STACK, X, Y, make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.inverse.comparison import compare
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan
from microtomo.io.tiff import open_tiff
from microtomo.io.tiff_tags import tiff_pixel


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", make_scan())
    write_reconstruction("rec.h5", make_reconstruction(), make_scan().truth)
    return tmp_path


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_maps_come_with_values_in_nm_and_the_scale_that_imagej_reads(folder, capsys):
    assert main(["export", "rec.h5", "-o", "out", "--scan", "scan.h5", "--figures", "none"]) == 0
    rec = make_reconstruction()
    for name, maps in (("thickness", rec.thickness), ("standard_deviation", rec.uncertainty)):
        with tifffile.TiffFile(f"out/{name}.tif") as tiff:
            assert tiff.is_imagej
            assert tiff.imagej_metadata["unit"] == "nm"
            assert tiff.imagej_metadata["Labels"] == ["Au", "Al"]
            np.testing.assert_array_equal(tiff.asarray(), maps)
        with open_tiff(Path(f"out/{name}.tif")) as tiff:
            assert tiff_pixel(tiff) == pytest.approx(4.0, rel=1e-4)
    np.testing.assert_array_equal(tifffile.imread("out/true_thickness.tif"), make_scan().truth)


def test_profile_and_histograms_are_those_of_the_maps(folder, capsys):
    assert main(["export", "rec.h5", "-o", "out", "--line", "5,1:1,1", "--figures", "none"]) == 0
    rec, rows = make_reconstruction(), table("out/profile.csv")
    assert [float(r["distance_nm"]) for r in rows] == [0, 4, 8, 12, 16]
    assert [float(r["y_px"]) for r in rows] == [5, 4, 3, 2, 1]
    np.testing.assert_allclose([float(r["Al_nm"]) for r in rows], rec.thickness[1, 5:0:-1, 1], rtol=1e-5)
    np.testing.assert_allclose([float(r["Au_sd_nm"]) for r in rows], rec.uncertainty[0, 5:0:-1, 1], rtol=1e-5)
    counted = table("out/histogram.csv")
    for k, symbol in enumerate(STACK.symbols):
        mine = [r for r in counted if r["layer"] == symbol]
        assert sum(int(r["pixels"]) for r in mine) == X * Y
        assert sum(float(r["share"]) for r in mine) == pytest.approx(1, abs=1e-4)
        above = sum(int(r["pixels"]) for r in mine if float(r["from_nm"]) >= 7.5)
        assert above == (rec.thickness[k] >= 7.5 if k == 0 else rec.thickness[k] >= mine_edge(mine)).sum()
    assert main(["export", "rec.h5", "-o", "out", "--line", "5,1:9,1"]) == 1
    assert "the line leaves the image: rows are 0..5, columns 0..6" in capsys.readouterr().err


def mine_edge(rows):
    return min(float(r["from_nm"]) for r in rows if float(r["from_nm"]) >= 7.5)


def test_every_figure_is_written_as_svg_and_pdf_and_nothing_over_older_files(folder, capsys):
    assert main(["export", "rec.h5", "-o", "out", "--scan", "scan.h5"]) == 0
    names = {path.name for path in Path("out").iterdir()}
    drawn = {"maps", "uncertainty", "fit", "section", "spectrum", "scan", "profile", "histogram"}
    assert {f"{d}.{k}" for d in drawn for k in ("svg", "pdf")} < names
    assert Path("out/maps.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in Path("out/maps.svg").read_text(encoding="utf-8")
    assert main(["export", "rec.h5", "-o", "out"]) == 1
    assert "out/thickness.tif: is there already: add --force" in capsys.readouterr().err
    assert main(["export", "rec.h5", "-o", "out", "--force", "--figures", "none"]) == 0
    assert main(["export", "rec.h5", "-o", "new", "--figures", "gif"]) == 1
    assert "unknown kind: give svg, pdf, png or none" in capsys.readouterr().err


def test_a_scan_is_exported_as_its_images(folder):
    assert main(["export", "scan.h5", "-o", "out", "--figures", "none"]) == 0
    with tifffile.TiffFile("out/signal.tif") as tiff:
        assert tiff.imagej_metadata["Labels"][:2] == ["5 keV", "6 keV"]
        np.testing.assert_array_equal(tiff.asarray(), make_scan().data)


def test_two_reconstructions_are_compared_in_nm_and_in_sigmas():
    first = make_reconstruction()
    shift = np.array([0.5, -2.0], np.float32)[:, None, None]
    sigma = np.full_like(first.uncertainty, 3.0)
    first = replace(first, uncertainty=sigma)
    thickness = first.thickness + shift
    thickness[:, 0, 0] = np.nan
    second = replace(first, thickness=thickness, uncertainty=sigma * 4 / 3)
    told = compare(first, second).as_dict()
    assert told["layers"]["Au"]["mean_nm"] == pytest.approx(0.5, abs=1e-5)
    assert told["layers"]["Al"]["rms_nm"] == pytest.approx(2.0, abs=1e-5)
    assert told["layers"]["Al"]["rms_sigmas"] == pytest.approx(2.0 / 5.0, abs=1e-5)  # sqrt(3² + 4²)
    assert told["layers"]["Au"]["pixels"] == X * Y - 1
    assert told["same_scan"] is False
    with pytest.raises(MicrotomoError, match="compare the same field"):
        compare(first, replace(second, thickness=thickness[:, :4], uncertainty=sigma[:, :4]))
    with pytest.raises(MicrotomoError, match="pixels are 4 nm in the first but 5 nm"):
        compare(first, replace(second, pixel_nm=5.0))


def test_compare_draws_and_prints(folder, capsys):
    write_reconstruction("other.h5", make_reconstruction(seed=5))
    assert main(["compare", "rec.h5", "other.h5", "-o", "c.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"].keys() == {"Au", "Al"}
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", "rec.h5", "other.h5"]) == 0
    assert "other.h5 less rec.h5" in capsys.readouterr().out
    assert main(["compare", "rec.h5", "scan.h5"]) == 1
    assert "scan.h5" in capsys.readouterr().err


def test_evaluate_takes_the_truth_of_the_file_and_no_reconstruction_for_one(folder, capsys):
    write_reconstruction("bare.h5", make_reconstruction())
    assert main(["evaluate", "rec.h5", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "rec.h5", "scan.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rmse_nm"] == alone["rmse_nm"]
    assert main(["evaluate", "bare.h5"]) == 1
    assert "bare.h5: holds no true thickness: give the simulated scan" in capsys.readouterr().err
    assert main(["evaluate", "rec.h5", "bare.h5"]) == 0
    assert "microtomo compare A.h5 B.h5" in capsys.readouterr().err


def test_notebooks_get_a_line_a_thumbnail_and_figures(tmp_path):
    scan, rec = make_scan(), make_reconstruction()
    assert repr(scan) == (
        "Scan(6 x 7 pixels of 4 nm, 31 energies 5..35 keV, au-al-si, published, 2.0% noise, truth known)"
    )
    assert repr(rec).startswith("Reconstruction(map, 6 x 7 pixels of 4 nm, au-al-si, published, 3.0% noise, ")
    assert len(repr(make_scan(3))) < 200
    for what, pictures in ((scan, 1), (rec, 2), (make_reconstruction(3), 2)):
        page = what._repr_html_()
        assert page.count("data:image/png;base64,") == pictures
        assert "<script" not in page
    hostile = replace(scan, stack=STACK.model_copy(update={"name": "<img src=x onerror=alert(1)>"}))
    assert "<img src=x" not in hostile._repr_html_()
    assert scan.plot()._repr_png_().startswith(b"\x89PNG")
    assert rec.plot(truth=scan.truth).save(tmp_path / "a.svg").read_text(encoding="utf-8").count("<svg") == 1
    assert "inches" in repr(rec.plot("fit"))
