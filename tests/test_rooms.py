"""What the modules of the package may import, how long they may be, and what they must never do: one test a rule."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest

import microtomo

PACKAGE = Path(microtomo.__file__).parent
GROUND = (
    *("errors", "inputs", "elements", "seeds", "detectors", "materials", "settings"),
    *("scan", "study", "voxels", "metrics", "discovery", "registry"),
)
ROOMS = (
    *("io", "physics", "simulate", "acquisition", "inverse", "solvers", "tem", "models"),
    *("training", "viz", "report", "viewer", "programs", "reproduce", "cli"),
)
"""Each room imports the ground and the rooms before it, nothing else."""
LEVEL = {**dict.fromkeys(GROUND, 0), **{room: level for level, room in enumerate(ROOMS, 1)}}
PUBLIC = "__init__"  # the public names stand for the whole package: only the top room may go through them
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 45  # functions without signature and docstring
LONG_FUNCTIONS = {
    "inverse/reconstruct.reconstruct": "the one road from a scan to a method, a step after the other",
    "physics/walk.walk": "a compiled loop: a call an electron and step would cost a third of the speed",
}
"""Functions that are longer, and why; none is longer than 60."""
MOST_LINES_OF_A_FUNCTION = 60

Rule = Callable[[ast.Module, Path], list[str]]


@cache
def modules() -> dict[Path, ast.Module]:
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def offenders(rule: Rule) -> list[str]:
    return [f"{path.relative_to(PACKAGE)}: {what}" for path, tree in modules().items() for what in rule(tree, path)]


def hold(rule: Rule) -> None:
    broken = offenders(rule)
    if broken:
        pytest.fail("\n".join([f"{len(broken)} offenders", *broken]), pytrace=False)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[str, ...]]:
    """Modules of the package that a module imports anywhere, as parts: ("io", "scans"); ``PUBLIC`` for the top."""
    here = ("microtomo", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names = [(*module, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "microtomo":
                yield existing(name[1:])


def existing(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The longest part of a dotted name that is a module or a package."""
    while parts and not (PACKAGE.joinpath(*parts).is_dir() or PACKAGE.joinpath(*parts).with_suffix(".py").is_file()):
        parts = parts[:-1]
    return parts or (PUBLIC,)


def too_high(tree: ast.Module, path: Path) -> list[str]:
    room = room_of(path)
    if room not in LEVEL:
        return ["stands in no room: add it to ROOMS"]
    level = LEVEL[room]
    names = {name[0] for name in imported(tree, path)} - {room}
    return [f"imports {name}" for name in sorted(names) if LEVEL.get(name, len(ROOMS)) > level]


def test_no_room_imports_a_higher_one():
    hold(too_high)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules along a circle of imports, or nothing."""
    done: set[str] = set()

    def follow(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := follow(other, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := follow(name, []))), [])


def without_types(tree: ast.Module) -> ast.Module:
    """The module without what only a type checker imports."""
    kept = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return ast.Module(kept, [])


def test_no_two_modules_import_each_other_around_a_circle():
    graph = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): {
            ".".join(name) for name in imported(without_types(tree), path)
        }
        for path, tree in modules().items()
    }
    assert not circle({name: others - {name} for name, others in graph.items()})


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def too_long(tree: ast.Module, path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").count("\n")
    return [f"has {lines} lines"] if lines > LINES_OF_A_FILE else []


def test_no_file_is_too_long():
    hold(too_long)


def lengths(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Lines of every function, without signature and docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            yield node.name, node.end_lineno - body[0].lineno + 1


def long_functions(tree: ast.Module, path: Path) -> list[str]:
    room = path.relative_to(PACKAGE).with_suffix("")
    limits = {
        name: MOST_LINES_OF_A_FUNCTION if f"{room}.{name}" in LONG_FUNCTIONS else LINES_OF_A_FUNCTION
        for name, _ in lengths(tree)
    }
    return [f"{name} has {count} lines" for name, count in lengths(tree) if count > limits[name]]


def test_no_function_is_too_long():
    hold(long_functions)


def test_a_long_function_is_seen():
    body = "    x = 1\n" * LINES_OF_A_FUNCTION
    assert not long_functions(ast.parse(f"def f(\n    a,\n):\n    '''Says\n    much.'''\n{body}"), PACKAGE / "f.py")
    assert long_functions(ast.parse(f"def f():\n{body}    return x\n"), PACKAGE / "f.py") == ["f has 46 lines"]


def unpickles(tree: ast.Module, path: Path) -> list[str]:
    seen = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            seen += [n for n in names if n.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "shelve")]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            tensors_only = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only")
            seen += [] if tensors_only == "True" else ["torch.load without weights_only=True"]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("allow_pickle")
            seen += [] if allowed == "False" else ["np.load without allow_pickle=False"]
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            seen.append("allow_pickle")
    return seen


def test_nothing_unpickles():
    hold(unpickles)


def asks_for_a_name(tree: ast.Module, path: Path) -> list[str]:
    """Comparisons of a forward model with a name: what differs is asked of the object.

    Published work that is computed again is about one model, and may say so.
    """
    if room_of(path) in ("physics", "reproduce"):
        return []
    seen = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, *node.comparators]
        words = {ast.unparse(side).split(".")[-1] for side in sides if isinstance(side, ast.Name | ast.Attribute)}
        constants = [s for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str)]
        if constants and words & {"contrast", "forward"}:
            seen.append(ast.unparse(node))
    return seen


def test_no_room_above_physics_asks_for_the_name_of_a_forward_model():
    hold(asks_for_a_name)


SEEDED = {"derive_seed": 1, "layer_seeds": 1, "draw_structure": 3, "draw_structures": 3}  # place of the stream


def bare_streams(tree: ast.Module, path: Path) -> list[str]:
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in SEEDED]
    return [
        ast.unparse(call)
        for call in calls
        if any(
            isinstance(a, ast.Constant)
            for a in [
                *call.args[SEEDED[ast.unparse(call.func)] :][:1],
                *(k.value for k in call.keywords if k.arg == "stream"),
            ]
        )
    ]


def test_every_stream_of_random_numbers_has_a_name():
    hold(bare_streams)


def unseeded(tree: ast.Module, path: Path) -> list[str]:
    """Random numbers from global generators, or from a clock."""
    seen = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.endswith((".default_rng", ".seed")):  # of an explicit seed
                broken = not node.args
            else:
                broken = re.fullmatch(r"((np|numpy)\.)?random\.[a-z_]+", name) is not None
            if broken:
                seen.append(ast.unparse(node))
    return seen


def test_nothing_is_random_without_a_seed():
    hold(unseeded)


def unexplained(tree: ast.Module, path: Path) -> list[str]:
    """Numbers with a name in a module that neither comment nor docstring explains, and whose name has no unit."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [f"line {node.lineno}: {lines[node.lineno - 1]}" for node in bare_numbers(tree, lines)]


UNIT = re.compile(r"_(NM|PX|KEV|EV|MM|UM|PM|S|MS|BYTES|MB|DPI|DEGREES|RAD|HZ|DEG|LINES|PIXELS)$|_PER_|SEED$|_VERSION$")


def bare_numbers(tree: ast.Module, lines: list[str]) -> Iterator[ast.stmt]:
    for node, after in zip_longest(tree.body, tree.body[1:]):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        value = node.value.operand if isinstance(node.value, ast.UnaryOp) else node.value
        numbers = isinstance(value, ast.Constant) and type(value.value) in (int, float)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        above = lines[node.lineno - 2] if node.lineno > 1 else ""
        commented = "#" in lines[(node.end_lineno or 1) - 1] or above.lstrip().startswith("#")
        if numbers and not (described or commented or any(UNIT.search(ast.unparse(t)) for t in targets)):
            yield node


def test_every_number_with_a_name_is_explained():
    hold(unexplained)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (too_high, "from microtomo.inverse.problem import Problem"),
        (too_high, "import microtomo.inverse.reconstruct"),
        (too_high, "from microtomo import simulate"),
        (too_high, "from microtomo import reconstruct"),
        (too_high, "def f():\n    from microtomo.viz import render"),
        (too_high, "from .cli import app"),
        (unpickles, "import pickle"),
        (unpickles, "from joblib import load"),
        (unpickles, "torch.load(p)"),
        (unpickles, "np.load(p)"),
        (unpickles, "x.load(p, allow_pickle=True)"),
        (asks_for_a_name, "if trial.contrast == 'published': pass"),
        (asks_for_a_name, "x = 'published' != forward"),
        (bare_streams, "derive_seed(seed, 2, i, 0)"),
        (bare_streams, "draw_structure(stack, kind, seed, 3, i, 8, 8)"),
        (bare_streams, "layer_seeds(seed, stream=0, sample=1, layers=2)"),
        (unseeded, "np.random.normal(0, 1)"),
        (unseeded, "rng = np.random.default_rng()"),
        (unseeded, "random.shuffle(x)"),
        (unseeded, "np.random.seed()"),
    ],
)
def test_an_offence_is_seen(rule, source):
    assert rule(ast.parse(source), PACKAGE / "voxels.py")


@pytest.mark.parametrize(
    ("rule", "source", "path"),
    [
        (too_high, "import torch\nfrom microtomo.metrics import voxel_scores", "voxels.py"),
        (too_high, "from ..materials import Stack", "simulate/detector.py"),
        (too_high, "from .perlin import gradient_noise", "simulate/structures.py"),
        (asks_for_a_name, "if contrast == 'published': pass", "physics/published.py"),
        (bare_streams, "derive_seed(seed, Stream.SAMPLES, i, 0)", "voxels.py"),
        (unseeded, "np.random.Generator(np.random.Philox(key=seed)).normal()", "voxels.py"),
    ],
)
def test_what_is_allowed_passes(rule, source, path):
    assert not rule(ast.parse(source), PACKAGE / path)


def test_a_number_without_an_explanation_is_seen():
    source = [
        "_MOST = 40",
        "_LEAST = 3  # images",
        "# pixels",
        "_SIDE = 4",
        "WIDTH_NM = 5.0",
        "_X = -1.5",
        "_Y = 2",
        '"""Why."""',
    ]
    tree = ast.parse("\n".join(source))
    assert [node.lineno for node in bare_numbers(tree, source)] == [1, 6]


def test_every_public_name_is_there_and_no_other():
    assert {name: getattr(microtomo, name) for name in microtomo.__all__}
    assert sorted(name for names in microtomo._HOMES.values() for name in names) == sorted(
        set(microtomo.__all__) - {"__version__"}
    )
    assert microtomo.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="no attribute 'reconstuct'"):
        microtomo.reconstuct  # noqa: B018
