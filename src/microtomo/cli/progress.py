"""Long work on the command line: how far it is, and what an interruption leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from microtomo.cli.say import say
from microtomo.cli.signals import ending
from microtomo.errors import printable

if TYPE_CHECKING:
    from microtomo.physics.forward import ForwardModel

_LINE_EVERY_S = 10.0


class Show(Protocol):
    """Shows how far the work is: the amount ``done`` by now and, where it changes, what is being done."""

    def __call__(self, done: float, text: str = "", total: float | None = None) -> None:
        """``total`` is the amount of all, where it was not known before."""


@contextmanager
def resumable(kept: str) -> Iterator[None]:
    """Ctrl-C inside ends the program and says what is ``kept``, such as ``finished epochs stay in runs/a``."""
    try:
        yield
    except KeyboardInterrupt:
        word, code = ending()
        say(f"{word}: {kept}, the same command goes on from there", err=True)
        raise typer.Exit(code) from None


@contextmanager
def progress(total: float | None = None, unit: str = "", *, every_s: float = _LINE_EVERY_S) -> Iterator[Show]:
    """On stderr a bar with rate and time left; where that is no terminal, a line every ``every_s`` seconds.

    Amounts are told as ``12 of 40 samples`` where there is a ``unit``, else in percent. What is there at the first call
    was done by an earlier run and does not count for the rate.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with _bar(console, total, unit) if console.is_terminal else _lines(total, unit, every_s) as show:
        yield show


@contextmanager
def each_of(files: Sequence[Path]) -> Iterator[tuple[Iterator[Path], Callable[[str], None]]]:
    """Files one after the other, and what says a line about one on stdout; more than one file have a progress bar.

    Where bar and lines share a terminal, the lines follow when all is done: they would run into the bar.
    """
    late: list[str] | None = None

    def one_line(line: str) -> None:
        say(line) if late is None else late.append(line)

    if len(files) == 1:
        yield iter(files), one_line
        return
    late = [] if sys.stderr.isatty() and sys.stdout.isatty() else None
    with progress(len(files), "images") as show:

        def shown() -> Iterator[Path]:
            for done, path in enumerate(files):
                show(done)
                yield path
            show(len(files))

        yield shown(), one_line
    for line in late or ():
        say(line)


def prepare(forward: ForwardModel) -> None:
    """Make the tables of a forward model, where it has any that are not there yet, and show how far that is."""
    with progress() as show:
        forward.prepare(lambda done, total: show(done, "making the table of the stack", total))


def prepare_for(scan: Path, given: Mapping[str, Any]) -> None:
    """The same for a scan file, where ``given`` goes before what the file says."""
    from microtomo.io.sources import open_scan
    from microtomo.materials import load_stack
    from microtomo.physics.forward import forward_model
    from microtomo.registry import DEFAULT_FORWARD

    with open_scan(scan, **given) as source:
        stack = source.stack or load_stack("au-al-si")
        model = forward_model(source.forward or DEFAULT_FORWARD, stack, source.energies_kev)
    prepare(model)


class _Pace:
    """Amount, rate and time left, in words."""

    def __init__(self, total: float | None, unit: str) -> None:
        self.total, self._unit = total, unit
        self._first: tuple[float, float] | None = None  # amount and time of the first call

    def told(self, done: float) -> tuple[str, str, str]:
        """Amount, rate and time left; empty where they are not known yet."""
        now = time.monotonic()
        self._first = self._first or (done, now)
        before, started = self._first
        rate = (done - before) / (now - started) if now > started else 0.0
        left = f"{time_of(max(0.0, self.total - done) / rate)} left" if rate and self.total else ""
        if not self._unit:
            return (f"{done / self.total:.0%}" if self.total else ""), "", left
        amount = f"{done:.0f} of {self.total:.0f} {self._unit}" if self.total else f"{done:.0f} {self._unit}"
        return amount, (f"{rate:.3g} {self._unit}/s" if rate else ""), left


@contextmanager
def _bar(console: object, total: float | None, unit: str) -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    pace = _Pace(total, unit)
    told, what = (TextColumn(text, markup=False) for text in ("{task.fields[pace]}", "{task.description}"))
    columns = (BarColumn(), told, TimeElapsedColumn(), what)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:  # type: ignore[arg-type]
        task = bar.add_task("", total=total, pace="")

        def show(done: float, text: str = "", total: float | None = None) -> None:
            pace.total = total or pace.total
            told = ", ".join(part for part in pace.told(done) if part)
            bar.update(task, completed=done, total=pace.total, pace=told, description=printable(text) or None)

        yield show


@contextmanager
def _lines(total: float | None, unit: str, every_s: float) -> Iterator[Show]:
    pace, last = _Pace(total, unit), time.monotonic()

    def show(done: float, text: str = "", total: float | None = None) -> None:
        nonlocal last
        pace.total = total or pace.total
        amount, rate, left = pace.told(done)
        if time.monotonic() - last >= every_s and left:
            last = time.monotonic()
            line = ", ".join(part for part in (amount, rate, left) if part)
            say(f"{line}; {text}" if text else line, err=True)

    yield show


def time_of(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
