"""The work behind ``microtomo measure``: image by image, and what is made of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from microtomo.cli.followed import followed
from microtomo.cli.measured_parts import Part, parts_of
from microtomo.cli.say import tell

if TYPE_CHECKING:
    from microtomo.registry import Measurement
    from microtomo.report.charted import DatedImage
    from microtomo.tem.measurement import Measured
    from microtomo.tem.particles.statistics import SizeDistribution
    from microtomo.tem.particles.tracking import Series

PAGE_DPI = 110
"""Resolution of pictures on the page, which shows two beside each other on 1080 pixels."""


def run(
    known: Measurement,
    *,
    image: Path,
    output: Path,
    picture: Path | None,
    report: Path | None,
    mask: Path | bool | None,
    method: str | None,
    settings: list[str] | None,
    pixel_nm: float | None,
    force: bool,
    as_json: bool,
    histogram: Path | None = None,
    tracks: Path | None = None,
    **given: Any,
) -> None:
    """Measure an image, or all of a folder, and write tables, pictures and the page."""
    from microtomo import __version__
    from microtomo.cli.options import new_files, parse_setting
    from microtomo.cli.progress import each_of, resumable
    from microtomo.errors import MicrotomoError

    tables = {known.tables[0]: output, **{name: given.pop(name) for name in known.tables[1:]}}
    folder = image.is_dir()
    outputs = [*tables.values(), None if folder else picture, histogram, tracks, report]
    new_files(outputs, force)
    files = _files(known, image, mask, method, outputs)
    options = {"method": method, "settings": dict(parse_setting(s) for s in settings or ()), "pixel_nm": pixel_nm}
    drawn = {"picture": picture and str(picture), "page": report is not None}
    job = {"measurement": known.name, "version": __version__, "mask": str(mask), **drawn, **options, **given}

    def work(path: Path, page: Path) -> Measured:
        measured = _measured(known, path, mask, **options, **given)
        own = picture / f"{path.stem}.png" if picture and folder else picture
        _draw(known, path, measured, own, page if report else None)
        return measured

    refused: list[str] = []
    interruptible = resumable("what is measured by now is kept") if folder else nullcontext()
    with interruptible, parts_of(output, job, files) as parts, each_of(files) as (paths, say):
        for path in paths:
            try:
                part = parts.of(path, work)
            except MicrotomoError as error:
                if not folder:
                    raise
                refused.append(str(error))
                tell(f"warning: {error}")
                continue
            summary = {"image": path.name, **part.summary}
            say(json.dumps(summary) if as_json else f"{path.name}: {part.sentence}; written to {output}")
        _write_tables(known, parts, tables, folder)
        total = _total(known, parts) if len(files) > 1 and known.distribution else None
        if total is not None:
            say(_of_all(*total, len(files) - len(refused), as_json))
        series = None if tracks is None else followed(known, parts, tracks)
        if series is not None:
            say(json.dumps(series.summary()) if as_json else f"{series.sentence()}; written to {tracks}")
        _conclude(known, method, parts, files, refused, histogram, report, series)
    if refused:
        raise MicrotomoError(f"{len(refused)} of {len(files)} images could not be measured, see above")


def _of_all(sizes: SizeDistribution, unit: str, images: int, as_json: bool) -> str:
    if as_json:
        return json.dumps({"images": images, **sizes.summary(unit)})
    return f"all images: {_total_sentence(sizes, unit)}"


def _write_tables(known: Measurement, parts: Iterable[Part], tables: dict[str, Path | None], folder: bool) -> None:
    from microtomo.tem.measurement import write_table

    for name, target in tables.items():
        if target is not None:
            write_table(target, ((part.name, part.tables[name]) for part in parts), known.names_image or folder)


def _total(known: Measurement, parts: Iterable[Part]) -> tuple[SizeDistribution, str] | None:
    """Distribution of a measurement's length on all images, and its unit: pixels where one has no pixel size; None
    where there is nothing to take one of."""
    import numpy as np

    from microtomo.tem.particles.statistics import size_distribution

    nm, px = f"{known.distribution}_nm", f"{known.distribution}_px"
    cells: dict[str, list[str]] = {nm: [], px: [], "border": []}
    for part in parts:
        for column in part.tables[known.tables[0]]:
            if column.name in cells:
                cells[column.name] += column.values
    whole = np.array(cells["border"]) != "1" if cells["border"] else np.ones(len(cells[px]), dtype=bool)
    unit, lengths = ("px", cells[px]) if "" in cells[nm] else ("nm", cells[nm])
    values = np.array(lengths, dtype=float)
    return (size_distribution(values[whole]), unit) if whole.any() else None


def _total_sentence(sizes: SizeDistribution, unit: str) -> str:
    return f"{sizes.number} that no border cuts: {sizes.sentence(unit)}"


def _conclude(
    known: Measurement,
    method: str | None,
    parts: Iterable[Part],
    files: Sequence[Path],
    refused: Sequence[str],
    histogram: Path | None,
    report: Path | None,
    series: Series | None = None,
) -> None:
    """Draw the distribution, and write the page."""
    if histogram is None and report is None:
        return
    from microtomo.registry import best_shipped
    from microtomo.report.charted import charted_sections
    from microtomo.report.measurement import Shown, measurement_report
    from microtomo.report.page import write_report
    from microtomo.report.series import series_section
    from microtomo.viz.distributions import distribution_figure
    from microtomo.viz.figures import save_figure

    total = _total(known, parts) if known.distribution else None
    with TemporaryDirectory() as folder:
        drawn = histogram or Path(folder) / "histogram.png"
        if total is not None:
            sizes, unit = total
            save_figure(distribution_figure(sizes, known.distribution, unit, f"{known.name}, whole ones"), drawn)
        elif histogram is not None:
            tell(f"warning: {histogram}: not drawn, there is nothing whole to take a distribution of")
        if report is not None:
            images = [Shown(part.name, part.summary, part.sentence, part.picture) for part in parts]
            sentence = "" if total is None else _total_sentence(*total)
            used = method or best_shipped(known.task).name
            charts = charted_sections(known, _dated(known, parts, files), Path(folder)) if known.chart else []
            if series is not None:
                charts.append(series_section(series, Path(folder)))
            page = measurement_report(
                known, used, images, sentence, drawn if total is not None else None, charts, refused
            )
            write_report(page, report)


def _dated(known: Measurement, parts: Iterable[Part], files: Sequence[Path]) -> list[DatedImage]:
    """The result of each image with the date that its name, its metadata or the file system gives."""
    from microtomo.io.dates import date_of
    from microtomo.report.charted import DatedImage

    paths = {path.name: path for path in files}
    return [DatedImage(p.name, date_of(paths[p.name]), p.tables[known.tables[0]]) for p in parts]


def _files(
    known: Measurement, image: Path, mask: Path | bool | None, method: str | None, outputs: list[Path | None]
) -> list[Path]:
    """The images to measure; what cannot be is refused before any work."""
    from microtomo.errors import MicrotomoError
    from microtomo.io.atomic import check_output
    from microtomo.io.micrographs import list_micrographs
    from microtomo.registry import get_method

    if method is not None:
        get_method(method, known.task)
    if image.is_dir() and isinstance(mask, Path):
        raise MicrotomoError(f"{image}: is a folder, but --mask is one label image: measure images one by one")
    files = list_micrographs(image, labels=mask is True) if image.is_dir() else [image]
    for path in outputs:
        if path is not None:
            check_output(path, files)
    return files


def _measured(known: Measurement, path: Path, mask: Path | bool | None, **options: Any) -> Measured:
    """The measurement of one file; errors name it."""
    from microtomo.errors import naming
    from microtomo.io.micrographs import read_micrograph
    from microtomo.tem.measurement import measure as run

    micrograph = read_micrograph(path)
    labels = None
    if mask:
        labels = micrograph.image if mask is True else read_micrograph(mask).image
    options["pixel_nm"] = options["pixel_nm"] or micrograph.pixel_nm
    with naming(path):
        return run(micrograph.image, known.name, labels=labels, **options)


def _draw(known: Measurement, path: Path, measured: Measured, picture: Path | None, page: Path | None) -> None:
    """The picture of its own, and a smaller one for the page."""
    from PIL import Image

    from microtomo.io.micrographs import read_micrograph
    from microtomo.registry import get_task
    from microtomo.viz.figures import save_figure
    from microtomo.viz.marks import measurement_figure

    if picture is None and page is None:
        return
    classes = get_task(known.task).classes
    figure = measurement_figure(read_micrograph(path).image, measured, classes, path.name)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, picture)
    if page is not None:
        save_figure(figure, page, dpi=PAGE_DPI)
        with Image.open(page) as drawn:
            small = drawn.convert("RGB").quantize()  # 256 colours: a third of the bytes
        small.save(page)
