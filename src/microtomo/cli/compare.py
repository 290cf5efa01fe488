"""``microtomo compare``: how far two reconstructions of one field are apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import Force, new_file
from microtomo.cli.say import console, say, tell

if TYPE_CHECKING:
    from microtomo.inverse.comparison import Comparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Reconstruction.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one of the same field.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Maps of both and of their difference: .png, .svg or .pdf.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Which sample of files with many.")] = 0,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare two reconstructions: the difference of each layer in nm and in standard deviations."""
    from microtomo.errors import naming
    from microtomo.inverse.comparison import compare as run
    from microtomo.io.atomic import check_output
    from microtomo.io.reconstructions import read_reconstruction
    from microtomo.study import one_reconstruction

    if output is not None:
        new_file(output, force, (".png", ".svg", ".pdf"), "a picture")
        check_output(output, [first, second])
    recs = []
    for path in (first, second):
        with naming(path):
            rec = read_reconstruction(path)
            recs.append(one_reconstruction(rec, sample))
    with naming(second):
        compared = run(*recs)
    if output is not None:
        from microtomo.viz.comparison import comparison_figure
        from microtomo.viz.figures import save_figure

        names = [f"{path.name}, {rec.method}" for path, rec in zip((first, second), recs, strict=True)]
        maps = (recs[0].thickness, recs[1].thickness)
        save_figure(comparison_figure(compared, maps, ("first", "second"), f"{names[0]} and {names[1]}"), output)
    if as_json:
        say(json.dumps({"first": str(first), "second": str(second), **compared.as_dict()}))
    else:
        _show(compared, first.name, second.name)
    if compared.same_scan:
        tell("note: both are of one scan: its noise is in both, and differences in sigmas come out too small")
    if output is not None:
        tell(f"written to {output}")


def _show(compared: Comparison, first: str, second: str) -> None:
    from rich.table import Table

    table = Table(title=f"{second} less {first}")
    for column in ("layer", "mean nm", "rms nm", "median size nm", "95 % below nm", "rms sigmas", "within 1.96 sd"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for symbol, row in compared.as_dict()["layers"].items():
        sizes = (f"{row[key]:.3f}" for key in ("mean_nm", "rms_nm", "median_size_nm", "size95_nm"))
        table.add_row(symbol, *sizes, _number(row["rms_sigmas"], ".2f"), _number(row["within95"], ".1%"))
    console().print(table)


def _number(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
