"""Help texts that name what the registry has, looked up when help is asked for: the registry takes a while to fill."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_PLACE = re.compile(r"\{(\w+) (methods|networks|tasks|models)\}")
_FORWARD = re.compile(r'^@register_forward\(\s*"([^"]+)"', re.MULTILINE)


class RegistryHelp(TyperCommand):
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
    ``{forward models}``."""
    return _PLACE.sub(lambda place: ", ".join(_names(place[1], place[2])), text)


def _names(which: str, what: str) -> list[str]:
    if what == "models":
        return _forward_models()
    from microtomo.registry import best_shipped, list_methods, list_tasks

    inputs = {task.input for task in list_tasks()}
    tasks = [t.name for t in list_tasks() if which in ("all", t.input, t.name)]
    if what == "tasks":
        return tasks
    if what == "networks":
        from microtomo.models.architectures import architectures

        return sorted(a.name for a in architectures().values() if a.task in tasks)
    if which in inputs:
        return [m.name for m in list_methods(input=which)]
    best = best_shipped(which).name
    return [best, *(m.name for m in list_methods(task=which) if m.name != best)]


def _forward_models() -> list[str]:
    """Names that stand in the source of the physics, whose modules are slow to import."""
    from importlib.resources import files

    modules = [m for m in files("microtomo.physics").iterdir() if m.name.endswith(".py")]
    return sorted(name for m in modules for name in _FORWARD.findall(m.read_text(encoding="utf-8")))
