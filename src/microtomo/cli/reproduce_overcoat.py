"""``microtomo reproduce overcoat``: the head-overcoat paper, computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.progress import progress, resumable
from microtomo.cli.say import say


def overcoat(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("overcoat"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and smaller images, two folds: minutes, not hours.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default all cores.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Only this network; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as sizes=published or folds=3.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Head-overcoat thickness in TEM: the paper's tables and figures on synthetic images, its figures beside ours.

    Writes one page (index.html), the same as Markdown, tables as CSV and figures as PNG. Run it again to go on where it
    was interrupted.
    """
    from microtomo.reproduce.overcoat.plan import QUICK, Settings
    from microtomo.reproduce.overcoat.run import reproduce
    from microtomo.settings import read_settings
    from microtomo.simulate.workers import default_workers

    start = (QUICK if quick else Settings()).model_dump(mode="json") | ({"networks": network} if network else {})
    chosen = read_settings(Settings, None, settings or [], **start)
    with resumable(f"what is finished stays in {output}"), progress() as show:
        done = reproduce(
            output, chosen, workers or default_workers(), lambda done, total, label: show(done, label, total)
        )
    if as_json:
        say(json.dumps({"page": str(done.page), "computed": done.computed, "worse": done.worse}))
        return
    say(done.page)
    worse = "; ".join(done.worse) if done.worse else "none"
    say(f"{done.computed} results computed. Worse than the published figures: {worse}", err=True)
