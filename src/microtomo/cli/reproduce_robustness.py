"""``microtomo reproduce robustness``: scans with faults, and what methods and verdicts make of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.progress import progress, resumable
from microtomo.cli.say import say


def robustness(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("robustness"),
    quick: Annotated[bool, typer.Option("--quick", help="One method, one scan of each kind: minutes.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default all cores.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as samples=10.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Scans as they really come: every method with gains, shading, drift, hot pixels, wrong stacks and more.

    Writes one page (index.html), the same as Markdown, tables as CSV and a figure as PNG. Run it again to go on where
    it was interrupted.
    """
    from microtomo.reproduce.robustness.run import run_benchmark
    from microtomo.reproduce.robustness.trials import QUICK, Settings
    from microtomo.settings import read_settings
    from microtomo.simulate.workers import default_workers

    start = (QUICK if quick else Settings()).model_dump(mode="json") | ({"methods": method} if method else {})
    chosen = read_settings(Settings, None, settings or [], **start)
    with resumable(f"what is finished stays in {output}"), progress() as show:
        done = run_benchmark(
            output, chosen, workers or default_workers(), lambda done, total, label: show(done, label, total)
        )
    if as_json:
        say(json.dumps({**asdict(done), "page": str(done.page)}))
        return
    say(done.page)
    say(
        f"{done.computed} scans computed; faults mended or doubted: {done.caught} of {done.faulty}; right scans that "
        f"were: {done.false_alarms} of {done.right}",
        err=True,
    )
