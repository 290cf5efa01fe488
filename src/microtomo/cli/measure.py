"""``microtomo measure``: numbers from micrographs, a sub-command for each measurement of the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from microtomo.registry import Measurement
    from microtomo.report.measurements import MeasurementPage
    from microtomo.tem.measurement import Column, Measured


class _Measurements(TyperGroup):
    """Looks its sub-commands up when they are asked for: the registry takes a while to fill."""

    @property
    def commands(self) -> Any:
        """Sub-commands by name."""
        return typer.main.get_group(measurements()).commands

    @commands.setter
    def commands(self, value: Any) -> None:
        pass  # the registry has them


measure = typer.Typer(
    cls=_Measurements,
    no_args_is_help=True,
    help="Measure what is on micrographs: tables with units, a summary and a picture.",
)


def measurements() -> typer.Typer:
    """The sub-commands, made from the registry."""
    from microtomo.registry import list_measurements

    group = typer.Typer()
    for known in list_measurements():
        group.command(known.name)(_command(known))
    return group


def _command(known: Measurement) -> Callable[..., None]:
    """The verb of one measurement: what all have, its further tables, and its own options."""

    def verb(**given: Any) -> None:
        _run(known, **given)

    from microtomo.errors import MicrotomoError
    from microtomo.registry import best_shipped, list_methods

    methods = ", ".join(m.name for m in list_methods(task=known.task))
    try:
        default = best_shipped(known.task).name
    except MicrotomoError:  # nothing comes ready to use
        default = "none"
    options: list[tuple[str, Any, Any, Any]] = [
        ("image", Path, typer.Argument(metavar="IMAGE|FOLDER", help="TIFF, PNG, .npy, .dm3 or .dm4, or many."), None),
        (
            "output",
            Path,
            typer.Option("--output", "-o", help=f"CSV file for the table of {known.tables[0]}."),
            None,
        ),
        *((t, Path | None, typer.Option(help=f"CSV file for the table of {t}."), ()) for t in known.tables[1:]),
        ("picture", Path | None, typer.Option(help="Picture of what was measured; a folder for many."), ()),
        _mask(known),
        ("method", str | None, typer.Option(help=f"Segmenter: {methods}; else {default}."), ()),
        ("settings", list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the segmenter."), ()),
        ("pixel_nm", float | None, typer.Option(help="Pixel size in nm; else what the file says."), ()),
    ]
    if known.chart:
        page = typer.Option(help="HTML page: table, histogram, control chart by date, pictures.")
        options.append(("report", Path | None, page, ()))
    parameters = [_parameter(name, kind, info, default) for name, kind, info, default in options]
    for p in known.settings:
        kind, *words = get_args(p.annotation) if get_args(p.annotation) else (p.annotation,)
        info = typer.Option(help=str(words[0]) if words else "")
        parameters.append(
            Parameter(p.name, Parameter.KEYWORD_ONLY, default=p.default, annotation=Annotated[kind, info])
        )
    info = typer.Option("--json", help="Print the summary as JSON.")
    parameters.append(_parameter("as_json", bool, info, False))
    verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in parameters}
    verb.__name__ = known.name
    verb.__doc__ = cleandoc(known.run.__doc__ or "").split("\n\n")[0]
    return verb


def _mask(known: Measurement) -> tuple[str, Any, Any, Any]:
    if known.from_labels:
        words = "The input is a label image (0 and 255, or 0, 1, ...): nothing is segmented."
        return "mask", bool, typer.Option("--mask", help=words), False
    return "mask", Path | None, typer.Option(help="Label image beside the image; else --method finds the labels."), ()


def _parameter(name: str, kind: Any, info: Any, default: Any) -> Parameter:
    """``default``: None where the parameter is required, () where it may be left out."""
    value = Parameter.empty if default is None else None if default == () else default
    return Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=Annotated[kind, info])


def _run(
    known: Measurement,
    *,
    image: Path,
    output: Path,
    picture: Path | None,
    mask: Path | bool | None,
    method: str | None,
    settings: list[str] | None,
    pixel_nm: float | None,
    as_json: bool,
    report: Path | None = None,
    **given: Any,
) -> None:
    from microtomo.cli.options import parse_setting
    from microtomo.cli.progress import each_of
    from microtomo.errors import MicrotomoError
    from microtomo.tem.measurement import write_table

    tables = {known.tables[0]: output, **{name: given.pop(name) for name in known.tables[1:]}}
    folder = image.is_dir()
    files = _files(known, image, mask, method, [*tables.values(), None if folder else picture, report])
    options = {"method": method, "settings": dict(parse_setting(s) for s in settings or ()), "pixel_nm": pixel_nm}
    rows: dict[str, list[tuple[str, tuple[Column, ...]]]] = {name: [] for name in tables}
    refused = 0
    with _page(known, report, image) as page, each_of(files) as (paths, say):
        for path in paths:
            try:
                measured = _measured(known, path, mask, **options, **given)
            except MicrotomoError as error:
                if not folder:
                    raise
                refused += 1
                typer.echo(f"warning: {error}", err=True)
                if page is not None:
                    page.refused.append(str(error))
                continue
            for name in tables:
                rows[name].append((path.name, measured.tables[name]))
            if picture is not None:
                _draw(known, path, measured, picture / f"{path.stem}.png" if folder else picture)
            if page is not None:
                _add(page, path, measured)
            told = {"image": path.name, **measured.summary}
            say(json.dumps(told) if as_json else f"{path.name}: {measured.sentence}; written to {output}")
    for name, target in tables.items():
        if target is not None:
            write_table(target, rows[name], known.names_image or folder)
    if refused:
        raise MicrotomoError(f"{refused} of {len(files)} images could not be measured, see above")


@contextmanager
def _page(known: Measurement, target: Path | None, source: Path) -> Iterator[MeasurementPage | None]:
    """What collects the measured images, and is written in the end; None where no page is wanted."""
    if target is None:
        yield None
        return
    from tempfile import TemporaryDirectory

    from microtomo.report.measurements import MeasurementPage
    from microtomo.report.page import write_report

    with TemporaryDirectory() as folder:
        page = MeasurementPage(known, Path(folder))
        yield page
        write_report(page.report(f"{known.name}: {source.name}"), target)


def _add(page: MeasurementPage, path: Path, measured: Measured) -> None:
    """One more image on the page, and its picture as long as there is room."""
    from microtomo.io.dates import date_of
    from microtomo.report.measurements import MeasuredImage

    picture = page.folder / f"{len(page.images)}.png" if page.shows_more else None
    if picture is not None:
        _draw(page.known, path, measured, picture)
    page.images.append(MeasuredImage(path.name, date_of(path), measured.tables[page.known.tables[0]], picture))


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
    for path in outputs:
        if path is not None:
            check_output(path, [image])
    if not image.is_dir():
        return [image]
    if isinstance(mask, Path):
        raise MicrotomoError(f"{image}: is a folder, but --mask is one label image: measure images one by one")
    return list_micrographs(image, labels=mask is True)


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


def _draw(known: Measurement, path: Path, measured: Measured, target: Path) -> None:
    from microtomo.io.micrographs import read_micrograph
    from microtomo.registry import get_task
    from microtomo.viz.figures import save_figure
    from microtomo.viz.marks import measurement_figure

    target.parent.mkdir(parents=True, exist_ok=True)
    classes = get_task(known.task).classes
    save_figure(measurement_figure(read_micrograph(path).image, measured, classes, path.name), target)
