"""``microtomo explain``: a page for networks of micrographs and of scans."""

import json

import numpy as np
import pytest
from PIL import Image

from making import make_scan
from microtomo.cli.app import main
from microtomo.io.scans import write_scan
from microtomo.tem.particles.synthetic import Conditions, particle_image


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = particle_image(3, 1, Conditions(size=(96, 96), diameter_px=(12, 14), contrast=(2, 3), covered=(0.1, 0.15)))
    scaled = (made.image - made.image.min()) / np.ptp(made.image)
    Image.fromarray(np.uint8(255 * scaled)).save("p.png")
    Image.fromarray(np.uint8(made.drawing.coverage > 0.5) * 255).save("l.png")
    return tmp_path


def test_a_segmenter_is_explained_on_one_page(folder, capsys):
    given = ["explain", "p.png", "--method", "particle-unet", "-o", "e.html", "--labels", "l.png", "--window", "64"]
    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class"] == "particle"
    assert 3 <= found["receptive_field_px"] <= 63
    assert {"integrated gradients", "Seg-Grad-CAM, coarsest layer"} <= set(found["attributions"])
    page = (folder / "e.html").read_text()
    assert all(words in page for words in ("Where it looks", "first kernels", "layers answer", "features"))


def test_a_network_of_scans_is_explained_by_layers(folder, capsys):
    write_scan("s.h5", make_scan())
    assert main(["explain", "s.h5", "--method", "conv3", "-o", "s.html", "--class", "Al", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class"] == "Al"
    assert found["reach_px"] <= 4  # four 3 x 3 convolutions


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--method", "gaussian-otsu"], "no network"),
        (["--method", "horwath-512"], "no weights in the package"),
        (["--method", "particle-unet", "--class", "gold"], "knows no class"),
        (["--method", "unet", "--labels", "l.png"], "belong to micrographs"),
    ],
)
def test_what_cannot_be_explained_is_told(more, words, capsys):
    assert main(["explain", "p.png", *more, "-o", "e.html"]) == 1
    assert words in capsys.readouterr().err
