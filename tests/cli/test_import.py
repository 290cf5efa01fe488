"""``microtomo import``: the worked example, and a sentence for every kind of bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from microtomo.cli.app import main
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.scans import read_scan
from microtomo.metrics import voxel_scores
from microtomo.scan import Scan
from microtomo.simulate.microscope import write_tiffs
from microtomo.simulate.structures import make_structure
from microtomo.voxels import thickness_to_volume
from recorded import few_energies, record

ENERGIES = (5, 6, 7, 8, 9, 10)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    told, _ = record(few_energies(*ENERGIES), size=64, drift=0.7)
    write_tiffs(folder, told.images, told.energies_kev, 8.0)
    return folder


@pytest.fixture
def folder(frames, tmp_path, monkeypatch):
    """The frames copied to ``frames`` in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(frames, tmp_path / "frames")
    return tmp_path


def refused(capsys, told, *flags):
    assert main(["import", "frames", "-o", "scan.h5", "--dark", "1500", *flags]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
    assert not Path("scan.h5").exists()


@pytest.mark.parametrize("forward", ["material", "published"])
def test_a_drifting_microscope_is_as_good_as_a_still_one(tmp_path, monkeypatch, capsys, forward):
    monkeypatch.chdir(tmp_path)
    # none of the thicknesses of this sample stands on the edge of a voxel, where a hair's breadth moves a whole layer
    told, gain = record(size=120, drift=1.0, seeds=(31, 32), forward=forward)
    assert np.abs(told.drift_px).max() > 3
    write_tiffs("frames", told.images, told.energies_kev, 8.0)
    assert tifffile.imread("frames/scan_05.0keV.tif").dtype == np.uint16
    flags = ["--dark", "1500", "--contrast", forward, "--reference", "5", "--report", "report", "--json"]
    assert main(["import", "frames", "-o", "scan.h5", *flags]) == 0
    out, err = capsys.readouterr()
    done = json.loads(out)
    assert done["trusted"] is True
    assert "can be trusted" in err
    assert done["gain"] == pytest.approx(gain.tolist(), rel=0.004)
    assert np.abs(np.array(done["shifts_px"]) - told.drift_px).max() < 0.5
    for name in ("quality.html", "drift.png", "histograms.png", "noise.png", "shifts.csv"):
        assert Path("report", name).stat().st_size > 200, name
    imported = read_scan("scan.h5")
    assert imported.pixel_nm == pytest.approx(8.0)
    field = (slice(None), slice(*done["field"]["rows"]), slice(*done["field"]["columns"]))
    truth = told.still.truth[field].astype(float)
    still = Scan(told.still.data[field], imported.energies_kev, stack=imported.stack, forward=forward)
    assert imported.shape == still.shape
    scores = []
    for scan in (still, imported):
        rec = reconstruct(scan, "map")
        volume = thickness_to_volume(truth, rec.volume.shape[0])
        scores.append(voxel_scores(rec.volume, volume, ["empty", "Au", "Al"]).miou)
    assert scores[0] > 0.95
    assert scores[1] > scores[0] - 0.02


def test_the_field_is_cropped_and_said_to_be(folder, capsys):
    assert main(["import", "frames", "-o", "scan.h5", "--dark", "1500"]) == 0
    out, err = capsys.readouterr()
    assert "cropped from 64 x 64" in out
    assert "An inversion of this scan can be trusted" in err
    assert min(read_scan("scan.h5").shape[1:]) < 64


def test_the_field_can_be_kept(folder, capsys):
    assert main(["import", "frames", "-o", "scan.h5", "--dark", "1500", "--keep-field"]) == 0
    assert "cropped" not in capsys.readouterr().out
    assert read_scan("scan.h5").shape == (6, 64, 64)


def test_images_can_be_taken_as_they_stand(folder, capsys):
    assert main(["import", "frames", "-o", "scan.h5", "--dark", "1500", "--no-register", "--json"]) == 0
    out, err = capsys.readouterr()
    done = json.loads(out)
    assert done["registered"] is False
    assert "were not registered" in err
    scan = read_scan("scan.h5")
    by_hand = tifffile.imread("frames/scan_05.0keV.tif").astype(float) - 1500
    assert np.allclose(scan.data[0], by_hand / done["gain"][0], rtol=1e-4)


def test_energies_pixels_and_substrate_are_those_given(folder, capsys):
    for k, path in enumerate(sorted(Path("frames").iterdir())):
        path.rename(f"frames/image{k}.tif")
    flags = ["--energies", "5:10", "--pixel-nm", "3", "--substrate", "40:64,0:20", "--reference", "5", "--dark", "1500"]
    assert main(["import", "frames/image*.tif", "-o", "scan.h5", *flags, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["energies_kev"], done["pixel_nm"]) == ([5, 6, 7, 8, 9, 10], 3)
    rows, columns = done["field"]["rows"], done["field"]["columns"]
    bare = done["substrate"]
    assert bare["given"] is True
    assert [bare["rows"][0] + rows[0], bare["rows"][1] + rows[0]] == [40, min(64, rows[1])]
    assert [bare["columns"][0] + columns[0], bare["columns"][1] + columns[0]] == [max(0, columns[0]), 20]


def test_one_page_can_be_asked_for(folder, capsys):
    assert main(["import", "frames", "-o", "scan.h5", "--report", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page.replace("http://www.w3.org", "").replace("<meta http-equiv=", "")
    assert "no dark level was given" in page
    assert sorted(p.name for p in Path().iterdir()) == ["frames", "page.html", "scan.h5"]


# --- bad input ---


def rewrite(name, change):
    path = Path("frames", name)
    tifffile.imwrite(path, change(tifffile.imread(path)))


def test_images_of_different_sizes(folder, capsys):
    rewrite("scan_07.0keV.tif", lambda image: image[:-4])
    refused(capsys, "scan_07.0keV.tif is 60 x 64 pixels but scan_05.0keV.tif 64 x 64: export all images at one size")


def test_missing_energies(folder, capsys):
    Path("frames/scan_07.0keV.tif").unlink()
    refused(
        capsys, "5 images but 6 energies, no image is at 7 keV: add what is missing, or leave", "--energies", "5:10"
    )
    assert main(["import", "frames", "-o", "scan.h5", "--dark", "1500"]) == 0
    assert "the series lacks 7 keV" in capsys.readouterr().err


def test_energies_that_nothing_tells(folder, capsys):
    for k, path in enumerate(sorted(Path("frames").iterdir())):
        path.rename(f"frames/image{k}.tif")
    refused(capsys, "no energy is known for image0.tif, image1.tif, image2.tif and 3 more: pass --energies")


def test_duplicated_energies(folder, capsys):
    shutil.copy("frames/scan_07.0keV.tif", "frames/again_7keV.tif")
    refused(capsys, "are both at 7 keV: keep one of them, or average them")


def test_an_8_bit_saturated_stack(folder, capsys):
    for path in Path("frames").iterdir():
        rewrite(path.name, lambda image: np.minimum(image / 80, 255).astype(np.uint8))
    refused(capsys, "of the pixels are at 255, the top of 8 bits")


@pytest.mark.filterwarnings("default:.*left out")
def test_rgb_screenshots(folder, capsys):
    rewrite("scan_07.0keV.tif", lambda image: np.stack([(image // 256).astype(np.uint8)] * 3, -1))
    refused(capsys, "scan_07.0keV.tif: is a colour (RGB) image: save the detector signal as grey values")
    Path("frames/scan_07.0keV.tif").unlink()
    Path("frames/scan_07.0keV.png").write_bytes(b"\x89PNG")
    assert main(["import", "frames", "-o", "scan.h5"]) == 0
    said = capsys.readouterr().err
    assert "left out scan_07.0keV.png, which no microscope recorded" in said
    assert "energies: 5, 6, 8, 9, 10 keV" in said


@pytest.mark.parametrize("keep", [0.1, 0.6])
def test_a_corrupted_tiff(folder, capsys, keep):
    path = Path("frames/scan_07.0keV.tif")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    refused(capsys, "scan_07.0keV.tif: is damaged or cut off")


def test_shifts_beyond_a_quarter_of_the_field(folder, capsys):
    for energy in ("08.0", "09.0", "10.0"):
        rewrite(f"scan_{energy}keV.tif", lambda image: np.roll(image, 22, 0))
    refused(capsys, "more than a quarter of the field (64 x 64): leave that energy out")
    refused(capsys, "more than a quarter of the field (64 x 64): leave that energy out", "--no-register")


def test_no_substrate_visible(folder, capsys):
    shutil.rmtree("frames")
    stack = few_energies(*ENERGIES)
    thickness = make_structure(stack, "perlin", (11, 12), 98, 98)
    thickness[0] = 3 + 0.8 * thickness[0]  # gold everywhere
    told, _ = record(stack, thickness=thickness)
    write_tiffs("frames", told.images, told.energies_kev, 8.0)
    refused(capsys, "no substrate is visible: whichever region is taken for it")


def test_an_image_without_structure(folder, capsys):
    draw = np.random.default_rng(0)
    for path in Path("frames").iterdir():
        rewrite(path.name, lambda image: (20000 * draw.normal(1, 0.02, (64, 64))).astype(np.uint16))
    refused(capsys, "keV have nothing in common with the others that a shift could be measured from: leave them out")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--reference", "7.5"], "--reference 7.5: there is no image at 7.5 keV; the nearest is"),
        (["--dark", "60000"], "is darker than the dark level 60000: check --dark"),
        (["--pixel-nm", "0"], "--pixel-nm 0: must be a positive size"),
        (["--energies", "five"], "--energies five: not understood"),
        (["--substrate", "0:2"], "--substrate 0:2: not understood"),
        (["--substrate", "90:99,0:9"], "the substrate region"),
        (["--contrast", "high"], "unknown forward model 'high'"),
        (["--stack", "gold"], "unknown stack 'gold'"),
        (["-o", "missing/scan.h5"], "missing is no folder"),
        (["--report", "missing/page.html"], "missing is no folder"),
    ],
)
def test_bad_options_are_told(folder, capsys, flags, told):
    refused(capsys, told, *flags)


def test_pixel_sizes_that_differ(folder, capsys):
    image = tifffile.imread("frames/scan_07.0keV.tif")
    tifffile.imwrite("frames/scan_07.0keV.tif", image, imagej=True, resolution=(50, 50), metadata={"unit": "um"})
    refused(capsys, "pixels are 8 nm in scan_05.0keV.tif but 20 nm in scan_07.0keV.tif: scan all energies at one")
