"""``microtomo calibrate``: what an instrument leaves open, from films of known thickness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import Force, new_file, parse_energies, parse_region
from microtomo.cli.say import console, say
from microtomo.errors import MicrotomoError

if TYPE_CHECKING:
    from microtomo.inverse.calibration import Calibration

_SUFFIXES = (".html", ".png")


def calibrate(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Scan of the standards, as `reconstruct` takes it.")],
    known: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Known thickness: maps (.h5, .npy, .npz), or a .csv table, a line a film."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Stack file to write (.toml).")],
    stack: Annotated[
        str | None, typer.Option(help="Built-in stack or .toml file; else the file's own, else au-al-si.")
    ] = None,
    fit: Annotated[
        str, typer.Option(metavar="NAMES", help="What to fit: some of threshold,slope,offset,density,gain.")
    ] = "threshold,slope,offset,density",
    response: Annotated[str, typer.Option(help="Of the detector: energy, counts, or auto: what fits better.")] = "auto",
    exit_angles: Annotated[
        str | None,
        typer.Option(metavar="DEG:DEG", help="Angles to the normal that it sees; else the stack's."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Labelled image of the films, for a table with a column `mask`.")
    ] = None,
    substrate: Annotated[
        str | None, typer.Option(help="Bare substrate to normalise to: rows,columns such as 0:10,0:128.")
    ] = None,
    energies: Annotated[str | None, typer.Option(help="Beam energies in keV: 5:35, 5:35:2 or 5,7.5,10.")] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Relative noise of a pixel, for films of too few pixels to show it."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="The fit: picture and values (.html), or picture (.png).")] = None,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Fit detector, beam energy and densities on films of known thickness, and write them into a stack file.

    `--stack` takes that file from then on. A table names a film a line: rows,columns (pixels such as 0:10), or mask,
    then a column for each layer by symbol, in nm.
    """
    if report is not None and report.suffix.lower() not in _SUFFIXES:
        raise MicrotomoError(f"{report}: unknown kind of file: end the name in {' or '.join(_SUFFIXES)}")
    if output.suffix != ".toml":
        raise MicrotomoError(f"{output}: a stack file is TOML: end its name in .toml")
    if noise is not None and not 0 < noise <= 1:
        raise MicrotomoError(f"--noise {noise:g}: give a relative level above 0, 0.02 for 2 %")
    kev = None if energies is None else parse_energies(energies)
    region = None if substrate is None else parse_region(substrate)
    annulus = {} if exit_angles is None else {"exit_angles_deg": _angles(exit_angles)}

    from microtomo.cli.progress import progress
    from microtomo.inverse import calibration
    from microtomo.io.atomic import check_output
    from microtomo.io.stacks import write_stack

    for path in (output, report):
        if path is not None:
            check_output(path)
            new_file(path, force)
    names = [part.strip() for part in fit.split(",") if part.strip()]
    with progress(unit="solutions") as show:
        found = calibration.calibrate(
            scan, known, stack=stack, mask=mask, energies_kev=kev, substrate=region, noise=noise, detector=annulus,
            fit=names, response=response, progress=lambda solutions: show(solutions, "fitting"),
        )  # fmt: skip
    write_stack(output, found.stack, [f"calibrated with {scan.name} and {known.name}", *_lines(found)])
    if report is not None:
        _write(found, report)
    if as_json:
        say(json.dumps({"output": str(output), **_plain(found)}))
        return
    _show(found)
    say(f"written to {output}")


def _angles(text: str) -> tuple[float, float]:
    try:
        least, most = (float(part) for part in text.split(":"))
    except ValueError:
        raise MicrotomoError(f"--exit-angles {text}: not understood: write degrees such as 10:40") from None
    return least, most


def _lines(found: Calibration) -> list[str]:
    values = [
        f"{p.name} {p.value:.4g} ± {p.deviation:.2g} {p.unit}".rstrip() + ("" if p.told else ", not told by the data")
        for p in found.parameters
    ]
    return [*values, *found.notes]


def _plain(found: Calibration) -> dict[str, Any]:
    from dataclasses import asdict

    detector = found.stack.detector
    return {
        "detector": detector.model_dump() if detector else None,
        "parameters": [{**asdict(p), "told": p.told} for p in found.parameters],
        "chi_square": found.chi_square,
        "standards": list(found.standards.names),
        "notes": list(found.notes),
    }


def _write(found: Calibration, report: Path) -> None:
    from microtomo import __version__
    from microtomo.report.calibration import write_page
    from microtomo.viz.calibration import calibration_figure
    from microtomo.viz.figures import save_figure

    if report.suffix.lower() == ".png":
        save_figure(calibration_figure(found), report)
    else:
        write_page(found, report, f"microtomo {__version__}")


def _show(found: Calibration) -> None:
    from rich.table import Table

    from microtomo.report.calibration import heading, value_table

    shown = console()
    content, table = value_table(found), Table(title=heading(found))
    for i, name in enumerate(content.header):
        table.add_column(name, justify="right" if i else "left")
    for row in content.rows:
        table.add_row(*map(str, row))
    shown.print(table)
    for note in found.notes:
        shown.print(f"{note[0].upper()}{note[1:]}.")
