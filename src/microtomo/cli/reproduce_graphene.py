"""``microtomo reproduce graphene``: contaminants on graphene, the published table computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.say import console, say

if TYPE_CHECKING:
    from microtomo.reproduce.graphene import Row


def graphene(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images NAME.png with NAME_LABEL.png beside.")],
    method: Annotated[
        list[str] | None, typer.Option(help="This method, such as graphene-unet; may be repeated; else all filters.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="How often, with new folds each time.")] = 2,
    split: Annotated[
        list[str] | None,
        typer.Option(help="random (as published), 'by date', or synthetic (no image trained on); else the first two."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder that keeps the training of networks: the same command then goes on.")
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the errors: false positives red, missed blue.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Contaminants on graphene in HRTEM (Sadre et al. 2021): Table I on its data, ours beside the published figures."""
    from microtomo.errors import MicrotomoError, nearest
    from microtomo.reproduce import graphene as published_work
    from microtomo.tem.protocol import SCHEMES, SYNTHETIC, read_labelled

    for name in split or ():
        if name not in (*SCHEMES, SYNTHETIC):
            raise MicrotomoError(f"no folds are called {name!r}; {nearest(name, [*SCHEMES, SYNTHETIC])}")
    labelled = read_labelled(data)
    rows: list[Row] = []

    def progress(line: str) -> None:
        say(f"{line} ...", err=True)

    for row in published_work.table(labelled, method, folds, range(repeats), progress, split or SCHEMES, runs):
        rows.append(row)
        if overlays is not None:
            published_work.write_errors(row, labelled, overlays)
    if as_json:
        published = {name: scores.as_dict() for name, scores in published_work.PUBLISHED.items()}
        say(json.dumps({"published": published, "ours": [row.as_dict() for row in rows]}))
    else:
        _show(rows, len(labelled))


def _show(rows: list[Row], images: int) -> None:
    from rich.table import Table

    from microtomo.reproduce.graphene import METRICS, PUBLISHED

    def table(title: str) -> Table:
        shown = Table(title=title)
        for column in ("method", "folds"):
            shown.add_column(column, no_wrap=True)
        for column in ("acc.", "bal. acc.", "Jacc.", "F1", "prec.", "recall"):
            shown.add_column(column, justify="right")
        return shown

    shown = console()
    pooled = table(f"Table I, contaminants on graphene: {images} images, all pixels pooled")
    for name, scores in PUBLISHED.items():
        pooled.add_row(f"published {name}", "random", *(f"{getattr(scores, m):.3f}" for m in METRICS))
    pooled.add_section()
    for row in rows:
        pooled.add_row(row.method, row.folds, *(f"{getattr(row.pooled, m):.3f}" for m in METRICS))
    shown.print(pooled)
    each = table("By image: mean, and standard deviation below")
    for row in rows:
        each.add_row(row.method, row.folds, *(f"{getattr(row.mean, m):.3f}" for m in METRICS))
        each.add_row("", "", *(f"±{getattr(row.deviation, m):.3f}" for m in METRICS), end_section=True)
    shown.print(each)
