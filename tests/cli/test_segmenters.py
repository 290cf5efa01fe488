"""Networks for micrographs from the command line: trained on a folder, used on another, searched over, told off."""

import json
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtomo.cli.app import main

SMALL = [
    part
    for setting in (
        "network.blocks=3", "network.features=2", "data.crop=32", "data.epoch=4", "epochs=1", "precision=32-true"
    )
    for part in ("--set", setting)
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Four labelled images of two sessions in ``data``."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("data")
    rng = np.random.default_rng(0)
    mask = np.mgrid[:48, :64][1] < 20
    for k in range(4):
        image = 120 + rng.standard_normal(mask.shape) * np.where(mask, 30, 5)
        Image.fromarray(image.astype(np.uint8)).save(f"data/2014_{k // 2:04}_{k}.png")
        Image.fromarray(np.uint8(mask) * 255).save(f"data/2014_{k // 2:04}_{k}_LABEL.png")
    return tmp_path


@pytest.mark.filterwarnings("default:.*left out")
def test_a_network_trained_on_a_folder_segments_it_with_maps(capsys):
    arguments = ["train", "graphene-unet", "--data", "data", "--set", "data.session=9", *SMALL, "-o", "run"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 4
    assert 0 <= told["validation_jaccard"] <= 1
    assert main(arguments) == 0
    assert "validation Jaccard index" in capsys.readouterr().out
    use = ["--method", "graphene-unet", "--set", "weights=run/weights.safetensors", "--set", "symmetries=4"]
    assert main(["segment", "data", "-o", "out", "--maps", *use]) == 0
    for k in range(4):
        name = f"out/2014_{k // 2:04}_{k}"
        probability, spread = (tifffile.imread(f"{name}_{kind}.tif") for kind in ("probability", "uncertainty"))
        assert probability.dtype == spread.dtype == np.float32
        assert spread.min() >= 0
        np.testing.assert_array_equal(np.asarray(Image.open(f"{name}_mask.png")) > 0, probability > 0.5)
    assert main(["segment", "data", "-o", "data", "--maps", *use]) == 0
    capsys.readouterr()
    assert main(["segment", "data", "-o", "again", *use]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4
    assert "left out 2014_0000_0_mask.png" in said.err


def test_a_filter_has_no_uncertainty_to_write():
    assert main(["segment", "data/2014_0000_0.png", "-o", "a.png", "--method", "bragg", "--maps"]) == 0
    assert os.path.exists("a_probability.tif")
    assert not os.path.exists("a_uncertainty.tif")


def test_a_grid_is_searched(capsys):
    grid = ["--grid", "network.features=2,4", "--grid", "optimiser.learning_rate=1e-3"]
    assert main(["train", "graphene-unet-7", "--data", "data", *SMALL, *grid, "-o", "runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(trial["network.features"] for trial in told) == ["2", "4"]
    assert all(os.path.exists(trial["weights"]) for trial in told)
    assert os.path.exists("runs/search.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "graphene-unet"], "nothing to train on: set data.folder=FOLDER"),
        (["train", "graphene-unet", "--contrast", "material"], "have no --forward: leave it out"),
        (["train", "graphen-unet"], "did you mean graphene-unet"),
        (["train", "graphene-unet", "--data", "none"], "none: is no folder"),
        (["train", "graphene-unet", "--grid", "network.features"], "write --grid network.features=8,16"),
        (["segment", "data", "-o", "out", "--method", "graphene-unet-9"], "has no weights in the package"),
        (["segment", "data", "-o", "out", "--method", "graphene-unet", "--set", "symmetries=3"], "choose 1, 2, 4 or 8"),
        (["reproduce", "graphene", "data", "--split", "dates"], "no folds are called 'dates'"),
        (["reproduce", "graphene", "data", "--method", "graphen"], "no training is known for method 'graphen'"),
    ],
)
def test_wrong_usage_is_a_sentence(arguments, said, capsys):
    assert main(arguments) == 1
    answer = capsys.readouterr().err.splitlines()
    assert len(answer) == 1
    assert said in answer[0]
