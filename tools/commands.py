"""Prints the command reference as Markdown, from the command line itself: `make docs` writes docs/commands.md."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo

from microtomo.cli.app import app
from microtomo.cli.measure import measure, measurements
from microtomo.cli.texts import filled

_VALUES = {str: "TEXT", Path: "PATH", int: "N", float: "X"}
_HEAD = """# Commands

This page is made from the command line itself (`make docs`); `microtomo VERB --help` says the same. Results go to
stdout, progress and messages to stderr. The exit code is 0 when the work is done, 1 when it failed, 2 for wrong usage.
`microtomo --debug VERB ...` shows the traceback of an error, `microtomo --version` the version.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections(app, "microtomo")])


def _sections(group: typer.Typer, name: str) -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield from _section(f"{name} {command.name or command.callback.__name__}", command.callback)
    for info in group.registered_groups:
        assert info.typer_instance is not None
        inner = measurements() if info.typer_instance is measure else info.typer_instance
        yield from _sections(inner, f"{name} {info.name}")


def _section(name: str, verb: Callable[..., Any]) -> Iterator[str]:
    signature = inspect.signature(verb).parameters
    hints = get_type_hints(verb, include_extras=True)
    parameters = [_Parameter(key, hints[key], p.default) for key, p in signature.items()]
    usage = [p.value if p.required else f"[{p.value}]" for p in parameters if p.is_argument]
    usage += [f"{min(p.names, key=len)} {p.value}" for p in parameters if p.required and not p.is_argument]
    yield f"## {name}\n"
    yield f"    {' '.join([name, *usage])}\n"
    for paragraph in inspect.cleandoc(verb.__doc__ or "").split("\n\n"):
        yield f"{' '.join(paragraph.split())}\n"
    yield "| | | default |\n|---|---|---|"
    yield from (p.row() for p in parameters)
    yield ""


class _Parameter:
    """An argument or an option of a verb, from its annotation ``Annotated[type, typer.Option(...)]``."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        kind, info = get_args(hint)
        inner = [t for t in get_args(kind) if t is not NoneType]
        kind = inner[0] if inner else kind
        self._flag = kind is bool
        self._default = default
        self._info = info
        self.is_argument = isinstance(info, ArgumentInfo)
        self.required = default is inspect.Parameter.empty
        kind = next(iter(get_args(kind)), kind)  # list[str] has one of them each time
        word = name.upper() if self.is_argument else _VALUES.get(kind, "VALUE")
        self.value = (info.metavar or word).strip("[]")
        first = [info.default] if isinstance(info.default, str) else []  # where Annotated keeps the first name
        names = [*first, *(info.param_decls or ())] or [f"--{name.replace('_', '-')}"]
        self.names = [part for given in names for part in given.split("/")]

    def row(self) -> str:
        """What the table says of it."""
        value = "" if self._flag else f" {self.value}"
        names = f"`{self.value}`" if self.is_argument else ", ".join(f"`{n}{value}`" for n in self.names)
        given = self._default is not None and self._default is not False and not self.required
        cells = (names, filled(self._info.help or ""), f"`{self._default}`" if given else "")
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(reference(), end="")
