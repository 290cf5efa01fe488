"""``microtomo export``: a reconstruction for ImageJ, spreadsheets and papers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.options import HDF5_SUFFIXES, Force, new_file
from microtomo.cli.say import say, tell
from microtomo.errors import MicrotomoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from microtomo.study import Study


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Reconstruction, scan or data set.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write to.")] = None,
    nxem: Annotated[Path | None, typer.Option(metavar="FILE", help="NXem file (NeXus) to write, .nxs or .h5.")] = None,
    details: Annotated[Path | None, typer.Option(help="TOML file with what NXem asks of a measurement.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Which sample of a file with many.")] = 0,
    line: Annotated[
        str | None, typer.Option(metavar="Y,X:Y,X", help="Line of the profile in pixels; else the middle row.")
    ] = None,
    figures: Annotated[str, typer.Option(help="Kinds of files of each figure, or none.")] = "svg,pdf",
    scan: Annotated[Path | None, typer.Option(help="Scan of the spectrum; else the file's own input.")] = None,
    force: Force = False,
) -> None:
    """Write maps as 32-bit TIFF with scale, profile and histograms as CSV, every figure as SVG and PDF.

    ImageJ reads thickness.tif and standard_deviation.tif with values in nm and the pixel size; of a scan, signal.tif.
    With --nxem, instead or too, write one NeXus file of the application definition NXem: scan, results, microscope.
    """
    if output is None and nxem is None:
        raise MicrotomoError("nothing to write to: give a folder with -o, or a file with --nxem")
    if details is not None and nxem is None:
        raise MicrotomoError("--details are for an NXem file: give that with --nxem")
    ends = _line(line)
    kinds = [] if figures == "none" else [kind.strip().lower() for kind in figures.split(",")]
    if unknown := [kind for kind in kinds if kind not in ("svg", "pdf", "png")]:
        raise MicrotomoError(f"--figures {', '.join(unknown)}: unknown kind: give svg, pdf, png or none")

    from microtomo.io.studies import open_study

    study = open_study(file, scan, sample)
    for note in study.notes:
        tell(f"note: {note}")
    if nxem is not None:
        _write_nxem(study, file, nxem, details, force)
    if output is not None:
        _write_folder(study, file, output, kinds, ends, force)


def _write_nxem(study: Study, file: Path, output: Path, details: Path | None, force: bool) -> None:
    from datetime import UTC, datetime

    from microtomo.errors import naming
    from microtomo.io.nxem import Details, write_nxem
    from microtomo.settings import read_settings

    new_file(output, force, HDF5_SUFFIXES)
    with naming(file):
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        write_nxem(output, study, read_settings(Details, details), written, inputs=(file,))
    say(output)


def _write_folder(
    study: Study, file: Path, output: Path, kinds: list[str], ends: tuple[float, ...] | None, force: bool
) -> None:
    from microtomo.errors import naming
    from microtomo.io.atomic import writing

    if output.exists() and not output.is_dir():
        raise MicrotomoError(f"{output}: is a file: give a folder to write to")
    with naming(file):
        jobs = {**_maps(study), **_tables(study, ends), **_figures(study, kinds, ends, file.name)}
    for name in jobs:
        new_file(output / name, force)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    for name, write in jobs.items():
        write(output / name)
    say(output)
    tell(f"{len(jobs)} files: {', '.join(jobs)}")


def _line(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        ends = tuple(float(n) for end in text.split(":") for n in end.split(","))
    except ValueError:
        ends = ()
    if len(ends) != 4:
        raise MicrotomoError(f"--line {text}: not understood: write its ends in pixels, such as 64,0:64,127")
    return ends


Jobs = dict[str, "Callable[[Path], object]"]


def _maps(study: Study) -> Jobs:
    from microtomo.io.arrays import to_numpy
    from microtomo.io.imagej import write_imagej

    symbols, size = study.stack.symbols, study.pixel_nm
    stacks = {}
    if study.rec is not None:
        stacks = {"thickness": study.rec.thickness, "standard_deviation": study.rec.uncertainty}
    if study.truth is not None:
        stacks["true_thickness"] = study.truth
    jobs: Jobs = {
        f"{name}.tif": partial(write_imagej, maps=to_numpy(maps), pixel_nm=size, labels=symbols)
        for name, maps in stacks.items()
    }
    if study.scan is not None and study.rec is None:
        labels = [f"{e:g} keV" for e in study.scan.energies_kev]
        jobs["signal.tif"] = partial(write_imagej, maps=to_numpy(study.scan.data), pixel_nm=size, labels=labels)
    return jobs


def _tables(study: Study, line: tuple[float, ...] | None) -> Jobs:
    from microtomo.io.tables import write_csv
    from microtomo.viz.profiles import histogram_table, line_profile

    if study.rec is None and study.truth is None:
        return {}
    tables = {"profile.csv": line_profile(study, line).table(), "histogram.csv": histogram_table(study)}
    return {name: partial(write_csv, header=header, rows=rows) for name, (header, rows) in tables.items()}


def _figures(study: Study, kinds: list[str], line: tuple[float, ...] | None, title: str) -> Jobs:
    from microtomo.viz.drawn import figures_of, study_figure
    from microtomo.viz.figures import save_figure
    from microtomo.viz.profiles import histograms_figure, line_profile, profile_figure

    if not kinds:
        return {}
    drawn = {name: study_figure(name, study, title) for name in figures_of(study)}
    if study.rec is not None or study.truth is not None:
        drawn["profile"] = profile_figure(line_profile(study, line), title)
        drawn["histogram"] = histograms_figure(study, title)
    return {f"{name}.{kind}": partial(save_figure, figure) for name, figure in drawn.items() for kind in kinds}
