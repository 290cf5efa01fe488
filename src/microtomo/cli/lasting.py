"""Long work on the command line: what is left to do, and what an interruption leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

_EVERY = 10.0  # seconds between lines


@contextmanager
def resumable(kept: str) -> Iterator[None]:
    """Ctrl-C inside ends the program and says what is ``kept``, such as ``finished epochs stay in runs/a``."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {kept}, the same command goes on from there", err=True)
        raise typer.Exit(130) from None


class Pace:
    """How fast work is done, told every ten seconds, where no bar can be drawn.

    What was there from an earlier run does not count as done by this one.
    """

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()
        self._before: float | None = None

    def rate(self, done: float, least: float = 0.0) -> float | None:
        """Amount a second, where it is time for a line and more than ``least`` is done by now; else None."""
        self._before = done if self._before is None else self._before
        now = time.monotonic()
        if now - self._told < _EVERY or done - self._before <= least:
            return None
        self._told = now
        return (done - self._before) / (now - self._started)
