"""The page on the architecture: its rooms are there, and its recipes work as they stand, one file each."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import microtomo
from microtomo import registry
from microtomo.cli.app import main
from microtomo.physics import forward

PACKAGE = Path(microtomo.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
FORWARD, SEGMENTER, TASK = re.findall(r"^```python\n((?:.*\n)*?)```", PAGE, re.MULTILINE)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Puts a file into a folder that counts as a part of a room until the test ends."""
    registry.list_methods()
    forward.list_forward_models()
    tables = [(registry, name) for name in ("_TASKS", "_METHODS", "_MEASUREMENTS")] + [(forward, "_MODELS")]
    for module, name in tables:
        monkeypatch.setattr(module, name, dict(getattr(module, name)))

    def put_into(room, source, name):
        (tmp_path / "room").mkdir()
        (tmp_path / "room" / f"{name}.py").write_text(source)
        package = import_module(f"microtomo.{room}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "room")])
        monkeypatch.delitem(sys.modules, f"microtomo.{room}.{name}", raising=False)

    yield put_into
    for module in [name for name in sys.modules if name.endswith((".example_model", ".example_segmenter"))]:
        del sys.modules[module]


def test_every_room_is_on_the_page_and_every_room_of_the_page_is_there():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"training"}
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    drawing = set(re.findall(r"^ {4}(\w+)$", PAGE, re.MULTILINE))
    assert table == drawing == rooms
    ground = set(re.search(r"the ground: (.*)", PAGE)[1].split())
    assert ground == {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


def test_recipe_of_a_forward_model(put, tmp_path, monkeypatch, capsys):
    put("physics", FORWARD, "example_model")
    monkeypatch.chdir(tmp_path)
    assert "saturating" in forward.forward_names()
    stack = microtomo.load_stack("au-al-si")
    thickness = torch.tensor([[[3.0, 6.0]], [[0.0, 40.0]]])
    signal = microtomo.backscatter(thickness, stack, "saturating")
    gold = 1 - np.exp(-3 / 6)  # at 5 keV, by hand
    ratio = stack.layers[0].material.base_signal / stack.substrate.base_signal
    assert float(signal[0, 0, 0]) == pytest.approx(ratio * gold + 1 - gold, rel=1e-5)
    assert (
        main(["generate", "scan.h5", "--samples", "1", "--size", "16", "--forward", "saturating", "--seed", "3"]) == 0
    )
    assert main(["reconstruct", "scan.h5", "--method", "likelihood", "-o", "rec.h5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["forward"] == "saturating"
    assert told["status"]["ok"] > 0.9
    scores = microtomo.evaluate(microtomo.read_reconstruction("rec.h5"), microtomo.read_scan("scan.h5"))
    assert scores.thickness.rmse_nm[0] < 2


def test_recipe_of_a_segmenter(put, tmp_path, monkeypatch, capsys):
    put("tem", SEGMENTER, "example_segmenter")
    monkeypatch.chdir(tmp_path)
    assert registry.get_method("gradient", "contaminant").options == ["window_px", "mask_threshold"]
    image, _ = registry.get_task("contaminant").example(5, 0)
    tifffile.imwrite("image.tif", image)
    assert main(["segment", "image.tif", "-o", "mask.png", "--method", "gradient", "--set", "window_px=6"]) == 0
    assert (tmp_path / "mask.png").is_file()
    assert main(["evaluate", "--all", "--task", "contaminant", "--method", "gradient", "--samples", "2", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out.split("\n", 1)[1])["entries"]
    assert entry["method"] == "gradient"
    assert entry["scores"]["jaccard"] > 0.3, "it finds something of what is there"


CHECK = """
import sys
import microtomo.tem as room
room.__path__.append(sys.argv[1])
import tifffile
from microtomo.cli.app import main
from microtomo.registry import get_task
tifffile.imwrite("image.tif", get_task("hole").example(5, 1)[0])
for command in sys.argv[2:]:
    if main(command.split()):
        sys.exit(command)
"""


def test_recipe_of_a_task(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "example_task.py").write_text(TASK)
    commands = (
        "segment image.tif -o mask.png --task hole --json",
        "measure holes image.tif -o holes.csv --pixel-nm 0.05 --smallest-nm2 1",
        "evaluate --all --task hole --samples 2 --json",
    )
    # in a process of its own: the sub-commands of `measure` are made when the command line starts
    words = [sys.executable, "-c", CHECK, str(tmp_path / "room"), *commands]
    answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert {"mask.png", "holes.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert (
        "holes" in (tmp_path / "holes.csv").read_text().splitlines()[0]
        or "area_nm2" in (tmp_path / "holes.csv").read_text()
    )
    entries = json.loads("{" + answer.stdout.split("\n{", 1)[1])["entries"]
    assert [entry["method"] for entry in entries] == ["calm"]
    assert entries[0]["scores"]["miou"] > 0.5
