"""``microtomo reproduce sem``: the SEM microtomography report, computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.progress import progress, resumable
from microtomo.cli.say import say


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
    from microtomo.reproduce.sem.plan import QUICK, Settings
    from microtomo.reproduce.sem.run import reproduce
    from microtomo.settings import read_settings
    from microtomo.simulate.workers import default_workers

    start = (QUICK if quick else Settings()).model_dump(mode="json") | ({"methods": method} if method else {})
    chosen = read_settings(Settings, None, settings or [], **start)
    with resumable(f"what is finished stays in {output}"), progress() as show:
        done = reproduce(
            output, chosen, workers or default_workers(), lambda done, total, label: show(done, label, total)
        )
    for note in done.notes:
        say(f"note: {note}", err=True)
    if as_json:
        say(json.dumps({"page": str(done.page), "computed": done.computed, "below": done.below}))
        return
    say(done.page)
    below = "; ".join(done.below) if done.below else "none"
    say(f"{done.computed} results computed. Below the published figures: {below}", err=True)
