"""Help texts that name what the registry has, looked up when help is asked for: the registry takes a while to fill."""

from __future__ import annotations

import re
from typing import Any

from microtomo.cli.verb import Verb

_PLACE = re.compile(r"\{(\w+) (methods|networks|tasks|models)\}")
_FORWARD = re.compile(r'^@register_forward\(\s*"([^"]+)"', re.MULTILINE)

_FAMILY = 4  # networks whose names begin alike are listed as one from this number on


class RegistryHelp(Verb):
    """A verb whose help has places to fill, see :func:`filled`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page, its places filled."""
        for parameter in self.params:
            if getattr(parameter, "help", None):
                parameter.help = filled(parameter.help)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def filled(text: str) -> str:
    """A text with names of the registry: ``{contaminant methods}`` of a task, the best that comes with the package
    first, ``{micrograph methods}`` of all tasks with one input, ``{micrograph tasks}``, ``{all networks}``, ...; and
    ``{forward models}``. Of the methods for micrographs those that run straight after installation."""
    return _PLACE.sub(lambda place: ", ".join(_names(place[1], place[2])), text)


def _names(which: str, what: str) -> list[str]:
    if what == "models":
        return _forward_models()
    from microtomo.registry import best_shipped, list_tasks

    inputs = {task.input for task in list_tasks()}
    tasks = [t.name for t in list_tasks() if which in ("all", t.input, t.name)]
    if what == "tasks":
        return tasks
    if what == "networks":
        from microtomo.models.architectures import architectures

        return families(sorted(a.name for a in architectures().values() if a.task in tasks))
    if which in inputs:
        return ready_methods(input=which)
    best = best_shipped(which).name
    return [best, *(name for name in ready_methods(task=which) if name != best)]


def ready_methods(**chosen: str) -> list[str]:
    """Names of methods, see :func:`microtomo.registry.list_methods`: of networks for micrographs those that come with
    weights, for networks for scans depend on the forward model."""
    from microtomo.registry import get_task, list_methods

    return [m.name for m in list_methods(**chosen) if get_task(m.task).input == "scan" or m.ready()]


def families(names: list[str]) -> list[str]:
    """Names in order, those of a large family (the same first two words) as one with a wildcard."""
    stems = ["-".join(name.split("-")[:2]) for name in names]
    large = {stem for stem in stems if stems.count(stem) >= _FAMILY}
    shown = [f"{stem}-*" if stem in large else name for name, stem in zip(names, stems, strict=True)]
    return list(dict.fromkeys(shown))


def _forward_models() -> list[str]:
    """Names that stand in the source of the physics, whose modules are slow to import."""
    from importlib.resources import files

    modules = [m for m in files("microtomo.physics").iterdir() if m.name.endswith(".py")]
    return sorted(name for m in modules for name in _FORWARD.findall(m.read_text(encoding="utf-8")))
