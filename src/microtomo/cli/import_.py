"""``microtomo import``: what a microscope saved in, a scan file out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import (
    HDF5_SUFFIXES,
    Force,
    Forward,
    Mask,
    Roi,
    new_file,
    parse_energies,
    parse_region,
    read_mask_of,
)
from microtomo.cli.say import say, tell
from microtomo.errors import MicrotomoError
from microtomo.registry import DEFAULT_FORWARD

if TYPE_CHECKING:
    from microtomo.acquisition.importing import Imported
    from microtomo.scan import Scan


def import_(
    places: Annotated[
        list[str], typer.Argument(metavar="STACK...", help="Images: files, a folder or a pattern such as 'scan/*.tif'.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    energies: Annotated[
        str | None, typer.Option(help="Beam energies in keV: 5:35, 5:35:2 or 5,7.5,10; else from names or metadata.")
    ] = None,
    energy_pattern: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Where names say the energy: 'scan_{kev}_*.tif', or {ev} in eV."),
    ] = None,
    dark: Annotated[float | None, typer.Option(help="Counts without a beam, to subtract.")] = None,
    substrate: Annotated[
        str | None,
        typer.Option(help="Bare substrate in the reference image: rows,columns such as 0:10,0:128; else found."),
    ] = None,
    pixel_nm: Annotated[float | None, typer.Option(help="Pixel size in nm; else the files' own, else 10.")] = None,
    register: Annotated[bool, typer.Option("--register/--no-register", help="Undo shifts between energies.")] = True,
    reference: Annotated[
        float | None, typer.Option(metavar="KEV", help="Image that the others are moved to; default the middle one.")
    ] = None,
    keep_field: Annotated[
        bool, typer.Option("--keep-field", help="Keep the size; edges repeat where an image does not reach.")
    ] = False,
    roi: Roi = None,
    mask: Mask = None,
    stack: Annotated[str, typer.Option(help="Built-in stack or .toml file.")] = "au-al-si",
    forward: Forward = DEFAULT_FORWARD,
    report: Annotated[
        Path | None, typer.Option(help="Quality page: a .html file, or a folder for the page and its pictures.")
    ] = None,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Import a microscope's images: dark level, registration, normalisation to bare substrate, and a verdict."""
    _check_numbers(pixel_nm, dark)
    given = None if energies is None else parse_energies(energies)
    region = None if substrate is None else parse_region(substrate)
    part = None if roi is None else parse_region(roi, "--roi")

    from microtomo.acquisition.importing import import_stack, part_of
    from microtomo.io.atomic import check_output
    from microtomo.io.scans import write_scan

    check_output(output, [place for place in places if Path(place).is_file()])
    new_file(output, force, HDF5_SUFFIXES, "a scan")
    if report is not None and _is_page(report):
        check_output(report, [output])
        new_file(report, force)
    kept = read_mask_of(mask)
    imported = import_stack(
        places,
        energies_kev=given,
        dark=dark,
        substrate=region,
        pixel_nm=pixel_nm,
        register=register,
        reference_kev=reference,
        keep_field=keep_field,
        stack=stack,
        forward=forward,
        energy_pattern=energy_pattern,
    )
    scan = part_of(imported, part, kept)
    write_scan(output, scan)
    page = None if report is None else _write_page(imported, report, output)
    if as_json:
        say(json.dumps({"output": str(output), "report": page and str(page), **_summary(imported, scan)}))
    else:
        say(f"{_line(imported)}; written to {output}")
    _tell_about(imported, scan)
    if page is not None:
        tell(f"quality page: {page}")


def _tell_about(imported: Imported, scan: Scan) -> None:
    tell(f"energies: {', '.join(f'{e:g}' for e in scan.energies_kev)} keV")
    if scan.shape != imported.scan.shape:
        tell(f"region of interest: {scan.shape[1]} x {scan.shape[2]} pixels")
    if imported.recording.pixel_nm is None:
        tell("note: no pixel size is known: 10 nm is taken, pass --pixel-nm")
    for finding in imported.findings:
        tell(f"{'warning' if finding.grave else 'note'}: {finding.text}")
    tell(imported.summary)


def _check_numbers(pixel_nm: float | None, dark: float | None) -> None:
    if pixel_nm is not None and not 0 < pixel_nm < float("inf"):
        raise MicrotomoError(f"--pixel-nm {pixel_nm:g}: must be a positive size in nm")
    if dark is not None and not abs(dark) < float("inf"):
        raise MicrotomoError(f"--dark {dark:g}: give the counts of an image without a beam, such as 1500")


def _is_page(report: Path) -> bool:
    return report.suffix.lower() in (".html", ".htm")


def _write_page(imported: Imported, report: Path, output: Path) -> Path:
    from microtomo.report.quality import quality_folder, quality_page

    return (quality_page if _is_page(report) else quality_folder)(imported, report, f"Import of {output.name}")


def _summary(imported: Imported, scan: Scan) -> dict[str, Any]:
    return {
        "energies_kev": list(scan.energies_kev),
        "shape": list(scan.shape),
        "pixel_nm": imported.scan.pixel_nm,
        "trusted": imported.trusted,
        **imported.scan.history["import"],
    }


def _line(imported: Imported) -> str:
    count, height, width = imported.scan.shape
    e = imported.scan.energies_kev
    line = f"{count} energies ({e[0]:g}..{e[-1]:g} keV), {height} x {width} pixels of {imported.scan.pixel_nm:g} nm"
    if imported.corrected and imported.shifts is not None:
        largest = imported.shifts.largest
        line += f"; shifts up to {largest:.1f} pixels ({largest * imported.scan.pixel_nm:.0f} nm) undone"
        before = imported.recording.images.shape[1:]
        if (height, width) != before:
            line += f", cropped from {before[0]} x {before[1]}"
    rows, columns = imported.substrate.box
    line += (
        f"; substrate {'given' if imported.substrate.given else 'found'} in {rows.start}:{rows.stop},{columns.start}:"
    )
    return f"{line}{columns.stop}; noise {imported.scan.noise:.1%}"
