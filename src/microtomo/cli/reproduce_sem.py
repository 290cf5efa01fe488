"""``microtomo reproduce sem``: the SEM microtomography report, computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.lasting import Pace, resumable

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
    with resumable(f"what is finished stays in {output}"), _progress() as progress:
        done = reproduce(output, chosen, workers or os.cpu_count() or 1, progress)
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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        text = TextColumn("{task.percentage:3.0f} % {task.description}")
        with Progress(BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), text, console=console) as bar:
            task = bar.add_task("starting", total=None)
            yield lambda done, total, label: bar.update(task, completed=done, total=total, description=label)
        return
    pace = Pace()

    def tell(done: float, total: float, label: str) -> None:
        rate = pace.rate(done, 0.02 * total)
        if rate is not None:
            left = (total - done) / rate
            typer.echo(f"{done / total:.0%}, about {left / 60:.1f} min left; {label}", err=True)

    yield tell
