"""The recipes of docs/architecture.md: one new file in a room, and registry, command line and leaderboard know it."""

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo import discovery, registry
from microtomo.cli.app import main
from microtomo.registry import best_shipped, get_measurement, get_method, get_task, list_methods, list_tasks

SEGMENTER = '''
"""Segmenter by brightness, for the recipe."""

import numpy as np

from microtomo.registry import register
from microtomo.tem.illumination import normalise
from microtomo.tem.segmentation import Segmentation


@register("bright", task="contaminant", citation="Nobody, Journal of Recipes 1 (2026) 1")
def bright(image: np.ndarray, *, threshold: float = 0.5) -> Segmentation:
    """Contaminant where the image is bright."""
    flat = normalise(image)
    probability = 1 / (1 + np.exp(threshold - flat))
    return Segmentation.of_mask(flat > threshold, probability, "bright", {"threshold": threshold})
'''

TASK = '''
"""Task of bubbles with rims, for the recipe: three classes, a method, a measurement."""

from typing import Annotated

import numpy as np

from microtomo.metrics import label_scores
from microtomo.registry import LabelClass, Metric, Preparation, Task, add_task, measurement, register
from microtomo.tem.measurement import Column, Lines, Measured, Outlines, Points, Texts
from microtomo.tem.segmentation import Segmentation

LEVELS = (100.0, 200.0, 300.0)


def example(seed, index):
    rng = np.random.default_rng((seed, index))
    y, x = np.mgrid[:64, :64]
    radius = np.hypot(y - rng.uniform(20, 44), x - rng.uniform(20, 44))
    labels = np.where(radius < 8, 1, np.where(radius < 12, 2, 0)).astype(np.uint8)
    return np.float32(np.take(LEVELS, labels) + rng.standard_normal(labels.shape)), labels


add_task(
    Task(
        name="bubble",
        input="micrograph",
        title="bubbles and their rims",
        metric=Metric("miou", "mIoU", label_scores),
        trial="synthetic bubbles",
        classes=(LabelClass("liquid"), LabelClass("bubble", "#0072B2"), LabelClass("rim", "#E69F00")),
        preparation=Preparation(lambda image: np.float32(image / image.mean())),
        example=example,
    )
)


@register("levels", task="bubble", citation="Nobody, Journal of Recipes 1 (2026) 2")
def levels(image: np.ndarray) -> Segmentation:
    """The nearest of three grey levels."""
    distance = np.abs(image - np.reshape(LEVELS, (3, 1, 1)))
    weight = np.exp(-distance / 20) / np.exp(-distance / 20).sum(0)
    return Segmentation(weight.argmax(0).astype(np.uint8), weight.astype(np.float32), "levels")


@measurement("bubbles", task="bubble", tables=("bubbles", "rims"), from_labels=True)
def bubbles(image, segmentation, pixel_nm, *, scale: Annotated[float, "Factor of the area."] = 1.0) -> Measured:
    """Area of bubbles and of their rims."""
    area, rim = (float((segmentation.labels == k).sum()) for k in (1, 2))
    middle = np.argwhere(segmentation.labels == 1).mean(0)
    corners = middle + 8 * np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
    return Measured(
        {"bubbles": (Column("area_px", [scale * area], ".1f"),), "rims": (Column("area_px", [rim], ".1f"),)},
        {"area_px": scale * area},
        f"bubble of {scale * area:.0f} px",
        (
            Outlines([corners], "#CC79A7", label="bubble"),
            Lines(corners[None, :2], "#009E73"),
            Points(middle[None], "white"),
            Texts(middle[None], ["1"], "white"),
        ),
        caption="one bubble",
    )
'''


@pytest.fixture
def add_file(tmp_path, monkeypatch):
    """Function that puts one file into a room, as a user does; all of it is gone afterwards."""
    list_methods()
    for room, name in (
        (registry, "_TASKS"),
        (registry, "_METHODS"),
        (registry, "_MEASUREMENTS"),
        (discovery, "_SEARCHED"),
    ):
        monkeypatch.setattr(room, name, dict(getattr(room, name)))
    added = []

    def add(room, name, text):
        folder = tmp_path / "room"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        package = importlib.import_module(room)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        added.append((package, name))

    yield add
    for package, name in added:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_add_a_segmenter(add_file, capsys):
    add_file("microtomo.tem", "bright", SEGMENTER)
    assert get_method("bright").summary == "Contaminant where the image is bright."
    assert main(["models", "bright"]) == 0
    assert "bright (contaminant)" in capsys.readouterr().out
    image = np.float32(np.random.default_rng(0).uniform(50, 60, (64, 64)))
    image[28:36, 28:36] += 100
    tifffile.imwrite("a.tif", image)
    assert main(["segment", "a.tif", "--method", "bright", "--set", "threshold=0.8", "-o", "mask.png"]) == 0
    mask = np.asarray(Image.open("mask.png"))
    assert (mask[28:36, 28:36] == 255).all()
    assert (mask == 255).mean() < 0.1
    capsys.readouterr()
    assert main(["evaluate", "--all", "--task", "contaminant", "--method", "bri*", "--samples", "2", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert (entry["method"], entry["samples"]) == ("bright", 2)
    assert 0 <= entry["scores"]["jaccard"] <= 1
    assert best_shipped("contaminant").name == "graphene-unet"


def test_add_a_task(add_file, capsys):
    add_file("microtomo.tem", "bubble", TASK)
    assert get_task("bubble") in list_tasks("micrograph")
    assert best_shipped("bubble").name == "levels"
    assert get_measurement("bubbles").task == "bubble"
    image, labels = get_task("bubble").example(1, 0)
    tifffile.imwrite("a.tif", image)
    assert main(["segment", "a.tif", "--task", "bubble", "-o", "mask.png", "--maps"]) == 0
    assert "% bubble, " in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(Image.open("mask.png")), labels)
    assert tifffile.imread("mask_rim_probability.tif").dtype == np.float32
    assert {tuple(c) for c in np.asarray(Image.open("mask_overlay.png")).reshape(-1, 3)} >= {
        (0, 114, 178),
        (230, 159, 0),
    }

    arguments = ["measure", "bubbles", "-o", "bubbles.csv", "--rims", "rims.csv", "--scale", "2"]
    assert main([*arguments, "a.tif", "--picture", "a.png"]) == 0
    assert "a.tif: bubble of " in capsys.readouterr().out
    (row,) = csv.DictReader(Path("bubbles.csv").read_text().splitlines())
    assert (row["image"], float(row["area_px"])) == ("a.tif", 2 * (labels == 1).sum())
    assert main([*arguments, "mask.png", "--mask", "--force"]) == 0
    (same,) = csv.DictReader(Path("bubbles.csv").read_text().splitlines())
    assert same["area_px"] == row["area_px"]
    assert Path("a.png").stat().st_size > 1000
    Path("masks").mkdir()
    for name in ("one_mask.png", "two_mask.png", "two_overlay.png"):
        Image.fromarray(labels).save(f"masks/{name}")
    assert main([*arguments, "masks", "--mask", "--force"]) == 0
    both = list(csv.DictReader(Path("bubbles.csv").read_text().splitlines()))
    assert [(r["image"], r["area_px"]) for r in both] == [(f"{n}_mask.png", row["area_px"]) for n in ("one", "two")]
    capsys.readouterr()
    assert main(["measure", "bubbles", "a.tif", "-o", "b.csv", "--method", "bragg"]) == 1
    assert "method 'bragg' is for task contaminant, not for bubble: choose from levels" in capsys.readouterr().err
    assert main(["measure", "bubbles", "--help"]) == 0
    assert "Factor of the area." in capsys.readouterr().out

    assert main(["evaluate", "--all", "--task", "bubble", "--samples", "3"]) == 0
    table = capsys.readouterr().out
    assert "bubbles and their rims: 3 synthetic image(s)" in table
    assert "levels" in table
    assert main(["models", "--task", "bubble", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["published_miou"], entry["miou"]) == ("levels", None, None)
