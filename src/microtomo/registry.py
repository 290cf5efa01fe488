"""One registry for every method: solvers, networks, segmenters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError, nearest


@dataclass(frozen=True)
class Method:
    """A registered method: how to call it, what it is for, and whom to cite."""

    name: str
    task: str
    summary: str
    citation: str
    run: Callable[..., Any]
    published_miou: float | None = None
    weights: Callable[[str], Path] | None = None
    """For networks: the weights that come with the package for a forward model; raises MicrotomoError where none do."""

    @property
    def learned(self) -> bool:
        """Whether it is a network, which needs weights, and not a solver."""
        return self.weights is not None

    @property
    def options(self) -> list[str]:
        """Names of its settings: the keyword-only parameters of ``run``."""
        return [name for name, p in signature(self.run).parameters.items() if p.kind is p.KEYWORD_ONLY]

    def ready(self, forward: str) -> bool:
        """Whether it runs for that forward model straight after installation."""
        try:
            return self.weights is None or bool(self.weights(forward))
        except MicrotomoError:
            return False


_METHODS: dict[str, Method] = {}
_ROOMS = ("microtomo.solvers", "microtomo.models", "microtomo.tem")


def register(
    name: str,
    *,
    task: str,
    citation: str,
    published_miou: float | None = None,
    weights: Callable[[str], Path] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a method under ``name``; the first line of its docstring is its summary.

    Raises MicrotomoError for a name that is taken and for a method without a docstring.
    """

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        if name in _METHODS:
            raise MicrotomoError(f"method {name!r} is registered twice")
        lines = (run.__doc__ or "").strip().splitlines()
        if not lines:
            raise MicrotomoError(f"method {name!r} has no docstring: say in its first line what it does")
        _METHODS[name] = Method(name, task, lines[0], citation, run, published_miou, weights)
        return run

    return add


def list_methods(pattern: str = "*", task: str | None = None) -> list[Method]:
    """Methods whose name matches a wildcard, by name; ``task`` narrows to one kind."""
    _load()
    return [m for n, m in sorted(_METHODS.items()) if fnmatchcase(n, pattern) and (task is None or m.task == task)]


def get_method(name: str) -> Method:
    """The method of that name. Raises MicrotomoError with the nearest names when there is none."""
    _load()
    if name not in _METHODS:
        raise MicrotomoError(f"unknown method {name!r}; {nearest(name, list(_METHODS))} (see `microtomo models`)")
    return _METHODS[name]


def _load() -> None:
    for room in _ROOMS:
        import_module(room)
