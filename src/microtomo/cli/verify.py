"""``microtomo verify``: is every byte still as it was written?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.say import say

if TYPE_CHECKING:
    from microtomo.io.verification import Verdict


def verify(
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files that microtomo wrote, data sets, folders of them.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
) -> None:
    """Check files against the checksums that they were written with: scans, reconstructions and data sets.

    Leaves with exit code 1 where one is damaged, cannot be read, or is missing from a data set.
    """
    from microtomo.cli.progress import progress
    from microtomo.io.verification import files_of, verdict_of

    files = [file for place in places for file in files_of(place)]

    def checked() -> Iterator[Verdict]:
        with progress(len(files), "files") as show:
            for done, file in enumerate(files):
                show(done)
                yield verdict_of(file)
            show(len(files))

    damaged = unsealed = 0
    for verdict in checked():
        damaged += verdict.state == "damaged"
        unsealed += verdict.state == "unsealed"
        if as_json:
            say(json.dumps({"file": str(verdict.file), "state": verdict.state, "reason": verdict.reason}))
        elif verdict.state != "intact":
            say(f"{verdict.state}: {verdict.file}: {verdict.reason}")
    say(f"{len(files) - damaged - unsealed} of {len(files)} files are as they were written", err=as_json)
    if unsealed:
        say(f"note: {unsealed} have no checksum and were read instead", err=True)
    if damaged:
        raise typer.Exit(1)
