"""``microtomo models``: what methods there are."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def models(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Wildcard for the name, such as 'm*'.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the methods: what each does, its published score and whom to cite."""
    from microtomo.errors import MicrotomoError
    from microtomo.registry import list_methods

    found = list_methods(pattern)
    if as_json:
        names = ("name", "task", "summary", "published_miou", "citation")
        typer.echo(json.dumps([{name: getattr(method, name) for name in names} for method in found]))
        return
    if not found:
        known = ", ".join(method.name for method in list_methods())
        raise MicrotomoError(f"no method matches {pattern!r}: there are {known or 'none'}")
    for method in found:
        score = "" if method.published_miou is None else f", published mIoU {method.published_miou:.3f}"
        typer.echo(f"{method.name} ({method.task}{score})\n  {method.summary}\n  Cite: {method.citation}")
