"""``microtomo evaluate --all``: one leaderboard of the methods of a task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from microtomo.cli.say import console, say
from microtomo.errors import MicrotomoError

if TYPE_CHECKING:
    from rich.text import Text

    from microtomo.inverse.leaderboard import Entry, Trial
    from microtomo.registry import Method, Task
    from microtomo.tem.leaderboard import ImageEntry


def leaderboard(task: str, pattern: str, samples: int, validation: bool, as_json: bool) -> None:
    """Run every method of the task that matches, and print the table (or JSON)."""
    from microtomo.registry import get_task, list_methods
    from microtomo.seeds import TEST_SEED, VALIDATION_SEED

    chosen = get_task(task)
    methods = list_methods(pattern, task=task)
    if not methods:
        known = ", ".join(method.name for method in list_methods(task=task))
        raise MicrotomoError(f"no method for task {task} matches {pattern!r}: there are {known or 'none'}")
    run = _scans if chosen.input == "scan" else _images
    run(chosen, methods, samples, VALIDATION_SEED if validation else TEST_SEED, as_json)


def _scans(task: Task, methods: list[Method], samples: int, seed: int, as_json: bool) -> None:

    from microtomo.inverse import leaderboard as board
    from microtomo.io.atomic import machine

    def report(entry: board.Entry) -> None:
        print(f"{entry.trial}: {entry.method} {entry.miou:.4f}, {entry.seconds:.2f} s a scan", file=sys.stderr)

    entries = board.run_all(methods, samples, seed, report)
    if as_json:
        say(*board.as_json(entries, samples, seed, machine()).splitlines())
        return
    shown = console(118)
    for trial in board.TRIALS:
        rows = sorted((e for e in entries if e.trial == trial.name), key=lambda e: -e.miou)
        if rows:
            shown.print(_scan_table(trial, rows))
    shown.print(f"{machine()}; structures of seed {seed}, 128 x 128 pixels; noise level estimated from each scan")


def _scan_table(trial: Trial, rows: list[Entry]) -> object:
    from rich.table import Table

    count = rows[0].samples
    table = Table(title=f"{trial.name}: {trial.forward}, {trial.noise:.0%} noise, {count} scan(s)")
    for column in ("method", "published", "mIoU", "pooled", "recall", "accuracy", "RMSE nm", "95 % holds", "s"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for e in rows:
        table.add_row(
            e.method,
            *_beside(e.miou, e.published),
            f"{e.pooled_miou:.4f}",
            f"{e.mrecall:.4f}",
            f"{e.maccuracy:.4f}",
            " / ".join(f"{v:.2f}" for v in e.rmse_nm),
            " / ".join(f"{v:.1%}" for v in e.coverage95),
            f"{e.seconds:.2f}",
        )
    return table


def _images(task: Task, methods: list[Method], samples: int, seed: int, as_json: bool) -> None:

    from microtomo.inverse.leaderboard import as_json as in_json
    from microtomo.io.atomic import machine
    from microtomo.tem.leaderboard import run_all

    def report(entry: ImageEntry) -> None:
        line = f"{entry.trial}: {entry.method} {entry.score:.4f}, {entry.seconds:.3f} s an image"
        print(line, file=sys.stderr)

    entries = run_all(task, methods, samples, seed, report)
    if as_json:
        say(*in_json(entries, samples, seed, machine()).splitlines())
        return
    shown = console(118)
    if entries:
        shown.print(_image_table(task, sorted(entries, key=lambda e: -e.score)))
    shown.print(f"{machine()}; synthetic images of seed {seed}, scores pooled over all pixels")


def _image_table(task: Task, rows: list[ImageEntry]) -> object:
    from rich.table import Table

    table = Table(title=f"{task.title}: {rows[0].samples} synthetic image(s)")
    others = [k for k, v in rows[0].scores.items() if k != task.metric.key and isinstance(v, float)]
    for column in ("method", "published", task.metric.title, *(k.replace("_", " ") for k in others), "s"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for e in rows:
        rest = (f"{e.scores[k]:.4f}" for k in others)
        table.add_row(e.method, *_beside(e.score, e.published), *rest, f"{e.seconds:.3f}")
    return table


def _beside(score: float, published: float | None) -> tuple[str, Text]:
    """The cells of a published figure and of ours, which is red where it is below."""
    from rich.text import Text

    if published is None:
        return "-", Text(f"{score:.4f}")
    return f"{published:.3f}", Text(f"{score:.4f}", style="red" if score < published else "")
