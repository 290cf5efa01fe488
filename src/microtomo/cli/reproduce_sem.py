"""``microtomo reproduce sem``: the SEM microtomography report, computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from microtomo.reproduce.sem.work import Progress


def sem(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("reproduction"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few structures, short trainings: minutes, not hours.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default all cores.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as samples=100.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """SEM microtomography (Artemov et al.): every table and figure of the report, ours beside the published figures.

    Writes one page (index.html), the same as Markdown, tables as CSV and figures as PNG. Run it again to go on where it
    was interrupted.
    """
    import os

    from microtomo.reproduce.sem.plan import QUICK, Settings
    from microtomo.reproduce.sem.run import reproduce
    from microtomo.settings import read_settings

    start = (QUICK if quick else Settings()).model_dump(mode="json") | ({"methods": method} if method else {})
    chosen = read_settings(Settings, None, settings or [], **start)
    try:
        with _progress() as progress:
            done = reproduce(output, chosen, workers or os.cpu_count() or 1, progress)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: what is finished stays in {output}, the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps({"page": str(done.page), "computed": done.computed, "below": done.below}))
        return
    typer.echo(done.page)
    told = "; ".join(done.below) if done.below else "none"
    typer.echo(f"{done.computed} results computed. Below the published figures: {told}", err=True)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr with the time left; plain lines every ten seconds where stderr is no terminal."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        text = TextColumn("{task.percentage:3.0f} % {task.description}")
        with Progress(BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), text, console=console) as bar:
            task = bar.add_task("starting", total=None)
            yield lambda done, total, label: bar.update(task, completed=done, total=total, description=label)
        return
    started = told = time.monotonic()
    before: float | None = None

    def tell(done: float, total: float, label: str) -> None:
        nonlocal told, before
        before = done if before is None else before
        now = time.monotonic()
        if now - told >= 10 and done - before > 0.02 * total:
            told = now
            left = (total - done) * (now - started) / (done - before)
            typer.echo(f"{done / total:.0%}, about {left / 60:.1f} min left; {label}", err=True)

    yield tell
