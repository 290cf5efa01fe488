"""Tasks, the methods for them and the measurements that follow: each registers itself, and its room is searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microtomo.discovery import discover
from microtomo.errors import MicrotomoError, nearest
from microtomo.settings import checked_options

if TYPE_CHECKING:
    import numpy as np

ROOMS = {
    "micrograph": ("microtomo.tem", "microtomo.models.micrographs"),
    "scan": ("microtomo.inverse", "microtomo.solvers", "microtomo.models"),
}
"""Packages whose modules register tasks, methods and measurements, by input: the physics takes seconds to import."""

DEFAULT_FORWARD = "transport"
"""The forward model of scans that name none, and of every verb that is not told another."""

SCORES = Path(__file__).parent / "weights"
"""Folder of measured scores: ``scores-TASK.json`` is what ``microtomo evaluate --all --json`` printed for a release."""


@dataclass(frozen=True)
class LabelClass:
    """A class of a task: its name, and its colour ``#RRGGBB`` over an image, None for what is left as it is."""

    name: str
    colour: str | None = None


@dataclass(frozen=True)
class Metric:
    """How label images are scored: ``score(predicted, true, classes)`` compares arrays of one shape with labels 0, 1,
    ... of the named ``classes``, and gives an object with ``as_dict()`` and the attribute ``key``, which ranks."""

    key: str
    title: str
    score: Callable[[Any, Any, Sequence[str]], Any]


@dataclass(frozen=True)
class Preparation:
    """What happens to a micrograph before a method sees it.

    An image of ``2 * working_side_px`` or more along its shorter side is binned by a whole number so that between
    ``working_side_px`` and twice that remain, None for never; one below ``smallest_px`` is refused. ``normalise`` takes
    the image (y, x) of counts to what networks are trained on, (y, x) float32.
    """

    normalise: Callable[[np.ndarray], np.ndarray]
    working_side_px: int | None = None
    smallest_px: int = 32


@dataclass(frozen=True)
class Task:
    """What there is to find: on scans (signal by beam energy) or on micrographs (one grey image).

    ``title`` says what, for headings; ``classes`` are the labels 0, 1, ... (of a scan its stack decides); ``trial``
    names the leaderboard's trial by which methods are ranked. Of micrographs also the ``preparation``, and
    ``example(seed, index)``: a synthetic image (y, x) of counts with its labels (y, x) uint8, on which methods are
    compared. ``others_labelled``: its label images may number other things, so that only 1 is label 1, not all but 0.
    """

    name: str
    input: Literal["scan", "micrograph"]
    title: str
    metric: Metric
    trial: str
    classes: tuple[LabelClass, ...] = ()
    preparation: Preparation | None = None
    example: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None
    others_labelled: bool = False


@dataclass(frozen=True)
class Published:
    """What a publication says of a method: its ``name`` there, and the task's metric by trial of the leaderboard."""

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Method:
    """A registered method: how to call it, what it is for, and whom to cite."""

    name: str
    task: str
    summary: str
    citation: str
    run: Callable[..., Any]
    published: Published | None = None
    weights: Callable[[str], Path] | None = None
    """For networks: the weights that come with the package for a forward model; raises MicrotomoError where none do."""

    @property
    def learned(self) -> bool:
        """Whether it is a network, which needs weights, and not a solver or filter."""
        return self.weights is not None

    @property
    def options(self) -> list[str]:
        """Names of its settings: the keyword-only parameters of ``run``."""
        return [p.name for p in _settings(self.run)]

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options, checked; see :func:`microtomo.settings.checked_options`."""
        return checked_options(f"method {self.name}", _settings(self.run), options)

    def ready(self, forward: str = DEFAULT_FORWARD) -> bool:
        """Whether it runs straight after installation, for scans of that forward model."""
        try:
            return self.weights is None or bool(self.weights(forward))
        except MicrotomoError:
            return False

    def published_score(self, trial: str) -> float | None:
        """The published figure for a trial, None where there is none."""
        return None if self.published is None else self.published.scores.get(trial)


@dataclass(frozen=True)
class Measurement:
    """A registered measurement: numbers that follow from a segmented micrograph.

    ``run(image, segmentation, pixel_nm, **settings)`` gives a :class:`microtomo.tem.measurement.Measured` with the
    named ``tables``, the first of which is the result. ``from_labels``: a label image may stand in for the image, not
    only come beside it. ``names_image`` puts the image's name in the first column of every table, also for one image.
    ``distribution``: the length whose distribution on all images is drawn, "" for none: columns NAME_px and NAME_nm
    (may be empty) where ``border`` is 0. ``followed``: whether rows can be followed over frames, by columns x, y and
    diameter_px. ``chart``: columns that a page shows, the first over dates, the others its interval."""

    name: str
    task: str
    summary: str
    run: Callable[..., Any]
    tables: tuple[str, ...]
    from_labels: bool = False
    names_image: bool = True
    distribution: str = ""
    followed: bool = False
    chart: tuple[str, ...] = ()

    @property
    def settings(self) -> list[Parameter]:
        """Its options: the keyword-only parameters of ``run``, with their annotations evaluated."""
        return _settings(self.run)


_Run = Callable[..., Any]
_TASKS: dict[str, Task] = {}
_METHODS: dict[str, Method] = {}
_MEASUREMENTS: dict[str, Measurement] = {}


def add_task(task: Task) -> Task:
    """Register a task and give it back. Raises MicrotomoError for a name that is taken."""
    if task.name in _TASKS:
        raise MicrotomoError(f"task {task.name!r} is registered twice")
    _TASKS[task.name] = task
    return task


def register(
    name: str,
    *,
    task: str,
    citation: str,
    published: Published | None = None,
    weights: Callable[[str], Path] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a method under ``name``; the first line of its docstring is its summary. Raises
    MicrotomoError for a name that is taken and for a method without a docstring."""

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        if name in _METHODS:
            raise MicrotomoError(f"method {name!r} is registered twice")
        _METHODS[name] = Method(name, task, _summary("method", name, run), citation, run, published, weights)
        return run

    return add


def measurement(name: str, *, task: str, tables: Sequence[str] = (), **more: Any) -> Callable[[_Run], _Run]:
    """Decorator that adds a :class:`Measurement` under ``name``; ``tables``: (name,) if none; ``more``: its fields. Its
    keyword-only parameters become options of ``microtomo measure NAME``, with the help of ``Annotated[type, "help"]``.
    Raises MicrotomoError for a name that is taken and without a docstring."""

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        if name in _MEASUREMENTS:
            raise MicrotomoError(f"measurement {name!r} is registered twice")
        summary = _summary("measurement", name, run)
        _MEASUREMENTS[name] = Measurement(name, task, summary, run, tuple(tables) or (name,), **more)
        return run

    return add


def list_tasks(input: str | None = None) -> list[Task]:
    """Tasks by name; ``input`` (scan or micrograph) narrows to those of one kind of data."""
    _search(input)
    return [t for _, t in sorted(_TASKS.items()) if input in (None, t.input)]


def list_methods(pattern: str = "*", task: str | None = None, input: str | None = None) -> list[Method]:
    """Methods whose name matches a wildcard, by name; ``task`` and ``input`` (scan or micrograph) narrow the list."""
    _search(_TASKS[task].input if task and task in _searched(_TASKS, task) else input)
    chosen = [m for n, m in sorted(_METHODS.items()) if fnmatchcase(n, pattern) and task in (None, m.task)]
    return [m for m in chosen if input is None or get_task(m.task).input == input]


def list_measurements(task: str | None = None) -> list[Measurement]:
    """Measurements by name; ``task`` narrows to one."""
    _search("micrograph")
    return [m for _, m in sorted(_MEASUREMENTS.items()) if task in (None, m.task)]


def get_task(name: str) -> Task:
    """The task of that name. Raises MicrotomoError with the nearest names when there is none."""
    if name not in _searched(_TASKS, name):
        raise MicrotomoError(f"unknown task {name!r}; {nearest(name, list(_TASKS))}")
    return _TASKS[name]


def get_method(name: str, task: str | None = None) -> Method:
    """The method of that name. Raises MicrotomoError with the nearest names for none, and for one of another task."""
    if name not in _searched(_METHODS, name):
        raise MicrotomoError(f"unknown method {name!r}; {nearest(name, list(_METHODS))} (see `microtomo models`)")
    method = _METHODS[name]
    if task not in (None, method.task):
        others = ", ".join(m.name for m in list_methods(task=task)) or "none"
        raise MicrotomoError(f"method {name!r} is for task {method.task}, not for {task}: choose from {others}")
    return method


def get_measurement(name: str) -> Measurement:
    """The measurement of that name. Raises MicrotomoError with the nearest names when there is none."""
    if name not in _searched(_MEASUREMENTS, name):
        raise MicrotomoError(f"cannot measure {name!r}; {nearest(name, list(_MEASUREMENTS))}")
    return _MEASUREMENTS[name]


def known_scores(task: str, trial: str | None = None) -> dict[str, float]:
    """The task's metric of each method, as measured for this version in a trial, else in the one that ranks."""
    path, known = SCORES / f"scores-{task}.json", get_task(task)
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"] if path.is_file() else []
    return {e["method"]: e.get("scores", e)[known.metric.key] for e in entries if e["trial"] == (trial or known.trial)}


def best_shipped(task: str, forward: str = DEFAULT_FORWARD) -> Method:
    """The method to use where none is named: of those that run straight after installation, the best by its score,
    last what has none. Raises MicrotomoError where no method is ready."""
    scores = known_scores(task)
    ready = [m for m in list_methods(task=task) if m.ready(forward)]
    if not ready:
        raise MicrotomoError(f"no method for task {task} comes ready to use: train one and give --method NAME")
    return max(ready, key=lambda m: scores.get(m.name, -1.0))


def _search(input: str | None = None) -> None:
    for kind, rooms in ROOMS.items():
        for room in rooms if input in (None, kind) else ():
            discover(room)


def _searched(table: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in table:
        _search()
    return table


def _summary(kind: str, name: str, run: Callable[..., Any]) -> str:
    if not (lines := (run.__doc__ or "").strip().splitlines()):
        raise MicrotomoError(f"{kind} {name!r} has no docstring: say in its first line what it does")
    return lines[0]


def _settings(run: Callable[..., Any]) -> list[Parameter]:
    return [p for p in signature(run, eval_str=True).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
