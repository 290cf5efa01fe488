import subprocess
import sys

import pytest
import torch

from microtomo import (
    Reconstruction,
    Scan,
    load_stack,
    simulate_scan,
    thickness_to_volume,
    write_reconstruction,
    write_scan,
)
from microtomo.cli.app import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """scan.h5 (with truth), bare.h5 (without), many.h5 (two samples), rec.h5 and recs.h5."""
    path = tmp_path_factory.mktemp("render")
    stack = load_stack("au-al-si")
    maps = torch.zeros(2, 2, 16, 20)
    maps[:, 0, :, :10] = 8
    maps[1, 1, 4:12, 4:16] = 90
    scan = simulate_scan(stack, maps, seed=1)
    write_scan(path / "many.h5", scan)
    write_scan(path / "scan.h5", simulate_scan(stack, maps[1], seed=1))
    write_scan(path / "bare.h5", Scan(scan.data[0], scan.energies_kev))
    shape = (2, 16, 20)
    found = Reconstruction(
        maps + 0.4, torch.ones_like(maps), thickness_to_volume(maps), torch.ones(shape),
        torch.zeros(shape, dtype=torch.uint8), "map", stack, "material", 0.02,
    )  # fmt: skip
    write_reconstruction(path / "recs.h5", found, truth=maps)
    one = {k: getattr(found, k)[1] for k in ("thickness", "uncertainty", "volume", "chi_square", "status")}
    single = Reconstruction(**one, method="map", stack=stack, forward="material", noise=0.02)
    write_reconstruction(path / "rec.h5", single)
    return path


def run(*words):
    return main(["render", *[str(w) for w in words]])


@pytest.mark.parametrize(
    "words",
    [
        ["rec.h5", "--figure", "maps"],
        ["recs.h5", "--sample", "1", "--figure", "maps"],
        ["rec.h5", "--figure", "uncertainty"],
        ["rec.h5", "--figure", "fit"],
        ["recs.h5", "--figure", "section", "--row", "8"],
        ["bare.h5"],
        ["many.h5", "--sample", "1", "--figure", "scan"],
    ],
)
def test_flat_figures_are_png(folder, tmp_path, words):
    assert run(folder / words[0], *words[1:], "-o", tmp_path / "a.png") == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_spectrum_takes_the_scan_given(folder, tmp_path):
    words = ["--figure", "spectrum", "--pixel", "5,6", "--scan", folder / "scan.h5"]
    assert run(folder / "rec.h5", *words, "-o", tmp_path / "a.svg") == 0
    drawn = (tmp_path / "a.svg").read_text()
    assert "pixel y 5, x 6" in drawn


@pytest.mark.parametrize("file", ["rec.h5", "scan.h5", "many.h5", "recs.h5"])
@pytest.mark.parametrize("what", ["auto", "truth"])
def test_html_scene_of_every_file_with_thickness(folder, tmp_path, file, what):
    if (file, what) == ("rec.h5", "truth"):
        pytest.skip("this file has no truth")
    assert run(folder / file, "--what", what, "-o", tmp_path / "a.html", "--z-scale", "2") == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '"z_scale": 2.0' in page
    assert '"name": "Au"' in page


@pytest.mark.gl
@pytest.mark.parametrize("what", ["thickness", "volume"])
def test_png_of_the_scene_has_the_size_asked_for(folder, tmp_path, what):
    from matplotlib.image import imread

    assert run(folder / "rec.h5", "--what", what, "-o", tmp_path / "a.png", "--size", "320x240") == 0
    image = imread(tmp_path / "a.png")
    assert image.shape[:2] == (240, 320)
    assert (abs(image[..., :3] - (86 / 255, 180 / 255, 233 / 255)) < 0.02).all(2).sum() > 100


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rec.h5", "-o", "a.bmp"], "end the name in .png or .html"),
        (["rec.h5", "-o", "a"], "end the name in .png or .html"),
        (["rec.h5", "-o", "a.svg"], "is for --figure"),
        (["rec.h5", "--figure", "maps", "-o", "a.html"], "leave out --figure"),
        (["bare.h5", "-o", "a.html"], "reconstruct the scan"),
        (["scan.h5", "--what", "volume", "-o", "a.png"], "a scan has no volume"),
        (["scan.h5", "--figure", "maps", "-o", "a.png"], "a scan has no maps"),
        (["rec.h5", "--figure", "spectrum", "-o", "a.png"], "give the scan with --scan"),
        (["rec.h5", "--figure", "section", "--row", "16", "-o", "a.png"], "rows 0..15"),
        (["recs.h5", "--sample", "2", "-o", "a.html"], "no sample 2"),
        (["many.h5", "--sample", "2", "-o", "a.html"], "has samples 0 to 1"),
        (["scan.h5", "--sample", "1", "-o", "a.html"], "no sample 1"),
        (["none.h5", "-o", "a.html"], "none.h5"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(folder, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert run(folder / words[0], *words[1:]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["--what", "gold"], ["--figure", "pie"], ["--size", "big"], ["--pixel", "5"], ["--sample", "-1"]]
)
def test_wrong_usage_is_exit_2(folder, tmp_path, words):
    assert run(folder / "rec.h5", "-o", tmp_path / "a.png", *words) == 2


def test_missing_gl_is_a_sentence_and_no_file(folder, tmp_path):
    code = (
        "import ctypes.util, sys; ctypes.util.find_library = lambda name: None\n"
        "from microtomo.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["render", str(folder / "rec.h5"), "-o", str(tmp_path / "a.png")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "apt-get install libegl1" in done.stderr
    assert list(tmp_path.iterdir()) == []
