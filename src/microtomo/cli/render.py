"""``microtomo render``: pictures of a reconstruction or a scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from microtomo.scan import Reconstruction, Scan
    from microtomo.study import Study
    from microtomo.viz.scene import Scene

FIGURES = ("maps", "uncertainty", "fit", "section", "spectrum", "scan")
CONTENTS = ("auto", "thickness", "volume", "truth")
_FLAT = (".png", ".pdf", ".svg")
_DATA = (".vti", ".stl", ".ply")


def render(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Reconstruction, scan or data set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".png, .html; .vti, .stl, .ply for other programs.")],
    sample: Annotated[int, typer.Option(min=0, help="Which sample of a file with many.")] = 0,
    what: Annotated[str, typer.Option(help="What the 3D scene shows: auto, thickness, volume or truth.")] = "auto",
    figure: Annotated[
        str | None, typer.Option(help="A flat figure instead: maps, uncertainty, fit, section, spectrum or scan.")
    ] = None,
    pixel: Annotated[str | None, typer.Option(metavar="Y,X", help="Pixel of the spectrum; else the middle.")] = None,
    row: Annotated[int | None, typer.Option(min=0, help="Image row of the section; else the middle.")] = None,
    scan: Annotated[Path | None, typer.Option(help="Scan of the spectrum; else the file's own input.")] = None,
    z_scale: Annotated[float | None, typer.Option(help="z exaggeration of the scene; else chosen.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the 3D picture in pixels.")] = "1200x900",
    title: Annotated[str | None, typer.Option(help="Title; else file and method.")] = None,
) -> None:
    """Draw a reconstruction or a scan: in 3D to PNG (no display needed) or HTML, or as a flat figure.

    A .vti file holds the labelled volume for ParaView; .stl and .ply hold closed surfaces, one file a material.
    """
    pixels = None if pixel is None else _numbers(pixel, ",", "--pixel", "row and column such as 64,64")
    shape = _numbers(size.lower(), "x", "--size", "width and height such as 1200x900")
    for name, value, known in (("--what", what, CONTENTS), ("--figure", figure, FIGURES)):
        if value is not None and value not in known:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}", param_hint=name)

    from microtomo.errors import MicrotomoError, naming
    from microtomo.io.atomic import check_output
    from microtomo.io.studies import load_study

    suffix = output.suffix.lower()
    if suffix not in (".html", *_FLAT, *_DATA):
        raise MicrotomoError(
            f"{output}: unknown kind of picture {suffix!r}: end the name in .png or .html, or in {', '.join(_DATA)}"
        )
    check_output(output, [file])
    study = load_study(file, sample)
    rec, measured, truth = study.rec, study.scan, study.truth
    if suffix in _DATA:
        _export(study, output, what, figure, file)
        return
    label = title or f"{file.name}{f', {rec.method}' if rec is not None else ''}"
    if figure is None and rec is None and truth is None and what == "auto" and suffix != ".html":
        figure = "scan"
    if figure is not None:
        if suffix == ".html":
            raise MicrotomoError(f"{output}: a figure is a flat picture: end the name in .png, or leave out --figure")
        from microtomo.viz.figures import save_figure

        with naming(file):
            drawn = _figure(figure, rec, measured, truth, label, pixels, row, scan, sample, file)
        save_figure(drawn, output)
        return
    if suffix not in (".png", ".html"):
        raise MicrotomoError(f"{output}: a 3D scene goes to .png or .html; {suffix} is for --figure")
    with naming(file):
        scene = _scene(what, rec, measured, truth, label, z_scale, light=suffix == ".html")
    if suffix == ".html":
        from microtomo.viz.web import render_html

        render_html(scene, output)
    else:
        from microtomo.viz.render import render_png

        render_png(scene, output, shape)


def _export(study: Study, output: Path, what: str, figure: str | None, file: Path) -> None:
    from microtomo.errors import MicrotomoError, naming
    from microtomo.viz.export import write_export

    if figure is not None:
        raise MicrotomoError(f"{output}: is no flat picture: end the name in .png, or leave out --figure")
    unfit = "volume" if output.suffix.lower() != ".vti" else "thickness"
    if what == unfit:
        raise MicrotomoError(f"{output}: is not made of the {what}: give --what auto or truth")
    with naming(file):
        if study.rec is None and what in ("volume", "thickness"):
            raise MicrotomoError(f"a scan has no {what}: reconstruct it and render that file")
        truth = what == "truth" or study.rec is None
        for path in write_export(study, output, truth=truth, inputs=[file]):
            typer.echo(str(path), err=True)


def _scene(
    what: str, rec: Reconstruction | None, scan: Scan | None, truth: Any, title: str, z_scale: float | None, light: bool
) -> Scene:
    from microtomo.errors import MicrotomoError
    from microtomo.materials import load_stack
    from microtomo.viz.scene import thickness_scene, volume_scene
    from microtomo.viz.web import MOST_FACES

    source: Any = rec if rec is not None else scan
    stack = source.stack or load_stack("au-al-si")
    most = MOST_FACES if light else None
    if what == "auto":
        what = "thickness" if rec is not None else "truth"
    if what == "truth":
        if truth is None:
            raise MicrotomoError("no true thickness is known: reconstruct the scan and render that file")
        return thickness_scene(
            truth, stack, pixel_nm=source.pixel_nm, z_scale=z_scale, title=f"{title}: truth", most_faces=most
        )
    if rec is None:
        raise MicrotomoError(f"a scan has no {what}: reconstruct it and render that file")
    if what == "thickness":
        return thickness_scene(
            rec.thickness, stack, pixel_nm=rec.pixel_nm, z_scale=z_scale, title=title, most_faces=most
        )
    return volume_scene(
        rec.volume, stack, voxel_nm=rec.voxel_nm, pixel_nm=rec.pixel_nm, z_scale=z_scale, title=title, most_faces=most
    )


def _figure(
    figure: str,
    rec: Reconstruction | None,
    scan: Scan | None,
    truth: Any,
    title: str,
    pixel: tuple[int, int] | None,
    row: int | None,
    scan_file: Path | None,
    sample: int,
    file: Path,
) -> Any:
    from microtomo.errors import MicrotomoError
    from microtomo.viz import figures
    from microtomo.voxels import thickness_to_volume

    if figure == "scan":
        if scan is None:
            raise MicrotomoError("is a reconstruction: give the scan itself for --figure scan")
        return figures.scan_figure(scan.data, scan.energies_kev, pixel_nm=scan.pixel_nm, title=title)
    if rec is None:
        raise MicrotomoError(f"a scan has no {figure}: reconstruct it and render that file, or use --figure scan")
    if figure == "maps":
        return figures.thickness_figure(
            {rec.method: rec.thickness}, rec.stack, truth=truth, pixel_nm=rec.pixel_nm, title=title
        )
    if figure == "uncertainty":
        return figures.uncertainty_figure({rec.method: rec.uncertainty}, rec.stack, pixel_nm=rec.pixel_nm, title=title)
    if figure == "fit":
        return figures.fit_figure(rec.chi_square, rec.status, pixel_nm=rec.pixel_nm, title=title)
    height, width = rec.volume.shape[-2:]
    if figure == "section":
        true = {} if truth is None else {"truth": thickness_to_volume(truth, rec.volume.shape[0], rec.voxel_nm)}
        return figures.section_figure(
            {**true, rec.method: rec.volume}, rec.stack, height // 2 if row is None else row,
            voxel_nm=rec.voxel_nm, pixel_nm=rec.pixel_nm, title=title,
        )  # fmt: skip
    from microtomo.io.studies import scan_of
    from microtomo.viz.spectrum import spectrum_figure

    measured = scan_of(rec, scan_file, sample, file)
    return spectrum_figure(measured, {rec.method: rec}, pixel or (height // 2, width // 2))


def _numbers(text: str, separator: str, option: str, wanted: str) -> tuple[int, int]:
    parts = text.split(separator)
    if len(parts) != 2 or not all(p.strip().isdigit() for p in parts):
        raise typer.BadParameter(f"{text!r} is not {wanted}", param_hint=option)
    return int(parts[0]), int(parts[1])
