"""``microtomo segment`` and ``reproduce``: files of every common kind in, masks and tables out, else sentences."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo.cli.app import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def micrograph(shape=(96, 128), seed=0):
    """Counts of a lattice with disorder in its left third."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 1000 + 150 * (np.cos(0.7 * x + 0.2 * y) + np.cos(0.75 * y - 0.1 * x)) + 30 * rng.standard_normal(shape)
    return image + 500 * rng.standard_normal(shape) * (x < shape[1] // 3)


def left_third_is_masked(path):
    mask = np.asarray(Image.open(path))
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    third = mask.shape[1] // 3
    return (mask[:, : third - 8] == 255).mean() > 0.9 > 0.1 > (mask[:, third + 20 :] == 255).mean()


def save(name, image):
    if name.endswith((".tif", ".tiff")):
        tifffile.imwrite(name, image)
    elif name.endswith(".npy"):
        np.save(name, image)
    else:
        Image.fromarray(image).save(name)


@pytest.mark.parametrize("method", ["bragg", "local-std"])
@pytest.mark.parametrize(
    ("name", "kind", "scale"),
    [
        ("a.tif", np.uint16, 1), ("b.tiff", np.uint8, 0.08), ("c.png", np.uint8, 0.08), ("d.png", np.uint16, 1),
        ("e.tif", np.float32, 1), ("f.npy", np.float64, 1), ("g.tif", ">u2", 1),
    ],
)  # fmt: skip
def test_a_mask_and_an_overlay_from_every_kind_of_image(name, kind, scale, method, capsys):
    save(name, (micrograph() * scale).clip(0).astype(kind))
    assert main(["segment", name, "--method", method, "-o", "out.png"]) == 0
    assert left_third_is_masked("out.png")
    assert np.asarray(Image.open("out_overlay.png")).shape == (96, 128, 3)
    assert f"{name}: " in capsys.readouterr().out


def test_what_rosettasciio_reads_is_read():
    pytest.importorskip("rsciio")
    header = np.zeros(256, np.int32)
    image = micrograph().astype(np.float32)
    header[:4] = (128, 96, 1, 2)  # columns, rows, one section of float32
    header[7:10] = (128, 96, 1)
    header[10:13] = np.array([1280, 960, 10], np.float32).view(np.int32)
    header[16:19] = (1, 2, 3)
    Path("a.mrc").write_bytes(header.tobytes() + image.tobytes())
    assert main(["segment", "a.mrc", "--method", "bragg", "-o", "out.png"]) == 0
    assert left_third_is_masked("out.png")


@pytest.mark.filterwarnings("default:.*left out")
def test_a_folder_gives_a_folder_and_its_masks_are_no_images(capsys):
    os.mkdir("in")
    for k, shape in enumerate([(64, 96), (100, 80), (600, 520)]):
        save(f"in/img{k}.tif", micrograph(shape).clip(0).astype(np.uint16))
    assert main(["segment", "in", "-o", "in", "--method", "bragg", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["input"] for t in told] == ["in/img0.tif", "in/img1.tif", "in/img2.tif"]
    assert told[2]["options"]["binning"] == 2
    assert np.asarray(Image.open("in/img2_mask.png")).shape == (600, 520)
    assert os.path.exists("in/img1_overlay.png")
    assert main(["segment", "in", "-o", "again", "--method", "bragg"]) == 0
    assert sorted(os.listdir("again")) == [f"img{k}_{what}.png" for k in range(3) for what in ("mask", "overlay")]


def test_options_of_the_method_are_set(capsys):
    save("a.tif", micrograph().clip(0).astype(np.uint16))
    assert main(["segment", "a.tif", "-o", "o.png", "--method", "bragg", "--set", "mask_threshold=40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["covered"] == 0
    assert told["options"]["mask_threshold"] == 40


def rgb():
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(colours).save("shot.png")
    tifffile.imwrite("shot.tif", colours, photometric="rgb")


WRONG = {
    "none.tif": (lambda: None, "none.tif: does not exist"),
    "shot.png": (rgb, "shot.png: is a colour .RGB. image: export the micrograph itself"),
    "shot.tif": (rgb, "shot.tif: is a colour .RGB. image"),
    "empty.png": (lambda: Path("empty.png").touch(), "empty.png: is empty"),
    "text.png": (lambda: Path("text.png").write_text("hello"), "text.png: cannot be read as an image"),
    "cut.tif": (lambda: Path("cut.tif").write_bytes(b"II*\0"), "cut.tif: is "),
    "nan.npy": (lambda: np.save("nan.npy", np.where(micrograph() > 900, np.nan, 1)), "not finite .NaN or infinite."),
    "tiny.tif": (lambda: save("tiny.tif", np.ones((9, 9), np.uint8)), "tiny.tif: the image is 9 x 9 pixels"),
    "flat.tif": (lambda: save("flat.tif", np.full((64, 64), 9, np.uint8)), "every pixel of the image is 9"),
    "stack.tif": (lambda: save("stack.tif", np.ones((7, 64, 64), np.uint8)), "stack.tif: holds 7 images"),
    "a.xyz": (lambda: Path("a.xyz").write_text("x"), "unknown format .xyz"),
    "zero.npy": (lambda: np.save("zero.npy", micrograph() - micrograph().mean()), "give the recorded counts"),
    "nothing": (lambda: os.mkdir("nothing"), "nothing: holds no images"),
    "a.dm3": (lambda: Path("a.dm3").write_bytes(b"no such thing" * 9), "a.dm3: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_told_in_one_sentence(name, capsys):
    make, said = WRONG[name]
    make()
    assert main(["segment", name, "-o", "out.png" if "." in name else "out"]) == 1
    answer = capsys.readouterr().err
    assert len(answer.splitlines()) == 1
    assert answer.startswith("error: ")
    assert re.search(said, answer), answer
    assert not os.path.exists("out.png")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("none/out.png", "none is no folder"),
        ("a.tif", "is the input itself"),
        ("out.jpg", "written as .png or .tif"),
        ("out", "written as .png or .tif"),
    ],
)
def test_output_that_cannot_be_is_told_before_the_work(output, said, capsys):
    save("a.tif", micrograph().clip(0).astype(np.uint16))
    assert main(["segment", "a.tif", "-o", output]) == 1
    assert said in capsys.readouterr().err


def test_a_folder_needs_a_folder_to_write_to(capsys):
    os.mkdir("in")
    save("in/a.tif", micrograph().clip(0).astype(np.uint16))
    save("in/a.png", micrograph().clip(0).astype(np.uint16))
    assert main(["segment", "in", "-o", "in/a.png"]) == 1
    assert "is the input itself" in capsys.readouterr().err
    assert main(["segment", "in", "-o", "out"]) == 1
    assert "rename one" in capsys.readouterr().err
    os.remove("in/a.png")
    Path("file").touch()
    for output, said in (("file", "file: is a file"), ("file/in", "cannot be made")):
        assert main(["segment", "in", "-o", output]) == 1
        assert said in capsys.readouterr().err


def test_the_table_has_published_figures_beside_ours(capsys):
    for k in range(6):
        save(f"2014_{k // 2:04}_{k}.png", micrograph((64, 64), k).clip(0).astype(np.uint16))
        Image.fromarray(np.uint8(np.mgrid[:64, :64][1] < 21) * 255).save(f"2014_{k // 2:04}_{k}_LABEL.png")
    arguments = ["reproduce", "graphene", ".", "--folds", "3", "--repeats", "1", "--method", "local-std"]
    assert main([*arguments, "--overlays", "pictures"]) == 0
    said = capsys.readouterr().out
    assert "0.812" in said
    assert "0.688" in said
    assert "by date" in said
    errors = np.asarray(Image.open("pictures/2014_0000_1_local-std_by-date.png"))
    assert {tuple(c) for c in errors.reshape(-1, 3)} <= {(0, 0, 0), (255, 255, 255), (220, 0, 0), (0, 60, 255)}
    assert errors[32, 5].tolist() == [255, 255, 255]
    assert errors[32, 60].tolist() == [0, 0, 0]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["published"]["U-Net"]["jaccard"] == 0.812
    assert {row["folds"] for row in told["ours"]} == {"random", "by date"}
    assert all(row["pooled"]["jaccard"] > 0.7 for row in told["ours"])


def test_an_unknown_table_or_data_without_labels_is_told(capsys):
    assert main(["reproduce", "graphite", "."]) == 2
    assert "Did you mean 'graphene'" in capsys.readouterr().err
    assert main(["reproduce", "graphene", "."]) == 1
    assert "holds no labels" in capsys.readouterr().err
