"""What the command line prints: lines and tables that hold names from files, and show them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from microtomo.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 120  # letters, of a file or a pipe, which has no width of its own


def say(*lines: object, err: bool = False) -> None:
    """Print lines, to stderr with ``err``; what a terminal would act on in them is spelled out."""
    for line in lines:
        typer.echo(printable(str(line)), err=err)


def tell(*lines: object) -> None:
    """Print lines about the work on stderr, where they mix with no result."""
    say(*lines, err=True)


def console(width: int | None = None) -> Console:
    """A console for tables: brackets in a text are no markup, and what a terminal would act on is spelled out."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            shown = "\n".join(printable(line) for line in text.split("\n"))
            return super().render_str(shown, **{**options, "markup": False, "emoji": False})

    plain = Plain(highlight=False)
    if width is not None or not plain.is_terminal:
        plain.width = width or _WIDTH
    return plain
