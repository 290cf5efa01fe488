"""What the modules of the package may import, and what they must never do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import microtomo

PACKAGE = Path(microtomo.__file__).parent
GROUND = {"errors", "materials", "scan", "study", "voxels", "metrics", "registry", "settings", "seeds"}
ABOVE = (
    *("io", "physics", "simulate", "acquisition", "inverse", "solvers", "tem", "models"),
    *("training", "viz", "report", "viewer", "reproduce", "cli"),
)
ROOMS = [GROUND, *({room} for room in ABOVE)]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
PUBLIC = "__init__"  # the public names stand for the whole package: only the top room may go through them
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).with_suffix("").parts[0]


def imported_rooms(tree: ast.AST, path: Path, package: Path = PACKAGE) -> Iterator[str]:
    here = ("microtomo", *path.relative_to(package).with_suffix("").parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level]] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names] if module == ["microtomo"] else [module]
        else:
            continue
        for name in names:
            if name[0] == "microtomo":
                known = len(name) > 1 and (name[1] in LEVEL or (package / name[1]).is_dir())
                yield name[1] if known else PUBLIC


def too_high(source: str, path: Path) -> list[str]:
    level = LEVEL[room_of(path)]
    top = len(ROOMS) - 1
    return [name for name in imported_rooms(ast.parse(source), path) if LEVEL.get(name, top) > level]


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_room_imports_a_higher_one(path):
    assert room_of(path) in LEVEL, f"{relative(path)} stands in no room: add it to ROOMS"
    assert not too_high(path.read_text(), path)


@pytest.mark.parametrize(
    "source",
    [
        "from microtomo.inverse.problem import Problem",
        "import microtomo.inverse.reconstruct",
        "from microtomo import simulate",
        "from microtomo import reconstruct",
        "def f():\n    from microtomo.viz import render",
        "from .cli import app",
    ],
)
def test_an_import_from_a_higher_room_is_seen(source):
    assert too_high(source, PACKAGE / "voxels.py")


def test_rooms_on_one_level_and_below_are_allowed():
    source = "import torch\nfrom microtomo.metrics import voxel_scores\nfrom microtomo.scan import Scan\n"
    assert not too_high(source, PACKAGE / "voxels.py")
    assert not too_high("from ..materials import Stack", PACKAGE / "simulate" / "detector.py")


def unpickles(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [n for n in names if n.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "shelve")]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            tensors_only = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only")
            found += [] if tensors_only == "True" else ["torch.load without weights_only=True"]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("allow_pickle")
            found += [] if allowed == "False" else ["np.load without allow_pickle=False"]
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append("allow_pickle")
    return found


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_unpickles(path):
    assert not unpickles(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(p)", "np.load(p)", "x.load(p, allow_pickle=True)"],
)
def test_unpickling_is_seen(source):
    assert unpickles(ast.parse(source))


def test_every_public_name_is_there_and_no_other():
    assert {name: getattr(microtomo, name) for name in microtomo.__all__}
    assert sorted(name for names in microtomo._HOMES.values() for name in names) == sorted(
        set(microtomo.__all__) - {"__version__"}
    )
    assert microtomo.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="no attribute 'reconstuct'"):
        microtomo.reconstuct  # noqa: B018
