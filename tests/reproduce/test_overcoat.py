"""The head-overcoat paper computed again: its protocol by hand, a small run from end to end, and one taken up again."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.report.page import Cell
from microtomo.reproduce.overcoat import plan, run, tables
from microtomo.reproduce.overcoat.jobs import Record
from microtomo.reproduce.overcoat.plan import NETWORKS, QUICK, Settings
from microtomo.reproduce.overcoat.tables import Regression
from microtomo.tem.layers.synthetic import Conditions


def test_folds_hold_each_image_out_once_and_never_train_on_it():
    settings = Settings(images=11, folds=3)
    held = [settings.fold(k) for k in range(3)]
    assert sorted(i for _, out in held for i in out) == list(range(11))
    assert all(not set(training) & set(out) for training, out in held)


def test_small_images_show_as_much_of_a_layer_as_usual_ones():
    low, high = Settings(size=64).conditions.pixel_nm
    assert (64 * low, 64 * high) == pytest.approx([256 * nm for nm in Conditions().pixel_nm])
    assert Settings(size=256).compared == (*NETWORKS, "layer-unet")
    assert QUICK.compared == NETWORKS


def test_regression_and_its_outliers_by_hand():
    x = np.arange(1.0, 11)
    y = 0.5 * x + np.tile([0.01, -0.01], 5)
    y[3] += 2
    line = Regression.of(x, y)
    assert line.outliers.tolist() == [k == 3 for k in range(10)]
    assert line.mse == pytest.approx(np.mean((y - x) ** 2))
    slope, offset = np.linalg.lstsq(np.stack([x, np.ones(10)], 1), y, rcond=None)[0]
    assert (line.slope, line.offset) == pytest.approx((slope, offset))


def test_figures_below_the_published_ones_are_marked_and_named():
    good = Record(0, 2.0, 0.1, "ok", 0.9, 0.95, 0.9, 0.95, 2.1)
    table = tables.segmentation({"layer-segnet": [good], "layer-nasnet": [replace(good, dice=0.8, status="unsure")]})
    assert [str(row[0]) for row in table.rows] == [
        "Segnet, paper", "layer-segnet, ours", "NASNet-Large, paper", "layer-nasnet, ours",
    ]  # fmt: skip
    assert table.rows[3][2] == Cell("▼ 0.800", worse=True)
    assert [table.rows[k][-1] for k in (1, 3)] == ["1 of 1", "0 of 1"]
    assert tables.worse({"table 1": table}) == ["table 1: layer-nasnet (Dice)"]


def test_a_small_run_gives_the_page_and_the_same_again_computes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "REGRESSORS", ("layer-rcnn",))
    monkeypatch.setitem(plan._SMALL, "layer-segnet", ("network.sizes=[4, 8]", "network.depths=[1, 1]"))
    monkeypatch.setitem(plan._SMALL, "layer-rcnn", ("network.side=16",))
    folder = tmp_path / "overcoat"
    settings = ["images=4", "size=64", "folds=2", "samples=8", "regressed=8", "shown=1"]
    command = ["reproduce", "overcoat", "--quick", "-o", str(folder), "--workers", "1", "--network", "layer-segnet"]
    command += [word for setting in settings for word in ("--set", setting)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["computed"] == 4  # two folds of a network and of a regressor
    page, text = (folder / name for name in ("index.html", "report.md"))
    assert "synthetic images" in page.read_text()
    assert "| Segnet, paper | 0.78 | 0.83 |" in text.read_text()
    rows = list(csv.reader((folder / "tables" / "table_2.csv").open()))
    assert rows[1][:2] == ["Three-line measurement, paper", "0.1524"]
    assert (folder / "figures" / "figure_13_layer-segnet.png").stat().st_size > 10000
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 0


def test_networks_of_other_tasks_and_more_folds_than_images_are_refused():
    with pytest.raises(MicrotomoError, match="is for task contaminant"):
        Settings(networks=("graphene-unet",)).check()
    with pytest.raises(MicrotomoError, match="fewer folds"):
        Settings(images=4, folds=5).check()
