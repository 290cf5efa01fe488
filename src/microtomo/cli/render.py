"""``microtomo render``: pictures of a reconstruction or a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import Force, new_file
from microtomo.cli.say import say

if TYPE_CHECKING:
    from microtomo.study import Study
    from microtomo.viz.scene import Scene

FIGURES = ("maps", "uncertainty", "fit", "section", "spectrum", "scan")
CONTENTS = ("auto", "thickness", "volume", "truth")
_FLAT = (".png", ".pdf", ".svg")


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
    force: Force = False,
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
    from microtomo.io.studies import load_study, scan_of
    from microtomo.viz.export import SUFFIXES

    suffix = output.suffix.lower()
    if suffix not in (".html", *_FLAT, *SUFFIXES):
        raise MicrotomoError(
            f"{output}: unknown kind of picture {suffix!r}: end the name in .png or .html, or in {', '.join(SUFFIXES)}"
        )
    check_output(output, [file])
    new_file(output, force)
    study = load_study(file, sample)
    if suffix in SUFFIXES:
        _export(study, output, what, figure, file)
        return
    label = title or f"{file.name}{f', {study.rec.method}' if study.rec is not None else ''}"
    if figure is None and study.rec is None and study.truth is None and what == "auto" and suffix != ".html":
        figure = "scan"
    if figure is None:
        _draw_scene(output, study, what, label, z_scale, shape, file)
        return
    if suffix == ".html":
        raise MicrotomoError(f"{output}: a figure is a flat picture: end the name in .png, or leave out --figure")
    from microtomo.viz.drawn import study_figure
    from microtomo.viz.figures import save_figure

    with naming(file):
        if figure == "spectrum" and study.rec is not None:
            study = replace(study, scan=scan_of(study.rec, scan, sample, file))
        drawn = study_figure(figure, study, label, pixels, row)
    save_figure(drawn, output)


def _draw_scene(
    output: Path, study: Study, what: str, title: str, z_scale: float | None, size: tuple[int, int], file: Path
) -> None:
    from microtomo.errors import MicrotomoError, naming

    suffix = output.suffix.lower()
    if suffix not in (".png", ".html"):
        raise MicrotomoError(f"{output}: a 3D scene goes to .png or .html; {suffix} is for --figure")
    with naming(file):
        scene = _scene(what, study, title, z_scale, light=suffix == ".html")
    if suffix == ".html":
        from microtomo.viz.web import render_html

        render_html(scene, output)
    else:
        from microtomo.viz.render import render_png

        render_png(scene, output, size)


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
            say(str(path), err=True)


def _scene(what: str, study: Study, title: str, z_scale: float | None, light: bool) -> Scene:
    from microtomo.errors import MicrotomoError
    from microtomo.viz.scene import thickness_scene, volume_scene
    from microtomo.viz.web import MOST_FACES

    rec = study.rec
    options: dict[str, Any] = {
        "pixel_nm": study.pixel_nm, "z_scale": z_scale, "most_faces": MOST_FACES if light else None,
    }  # fmt: skip
    if what == "auto":
        what = "thickness" if rec is not None else "truth"
    if what == "truth":
        if study.truth is None:
            raise MicrotomoError("no true thickness is known: reconstruct the scan and render that file")
        return thickness_scene(study.truth, study.stack, title=f"{title}: truth", **options)
    if rec is None:
        raise MicrotomoError(f"a scan has no {what}: reconstruct it and render that file")
    if what == "thickness":
        return thickness_scene(rec.thickness, rec.stack, title=title, **options)
    return volume_scene(rec.volume, rec.stack, voxel_nm=rec.voxel_nm, title=title, **options)


def _numbers(text: str, separator: str, option: str, wanted: str) -> tuple[int, int]:
    parts = text.split(separator)
    if len(parts) != 2 or not all(p.strip().isdigit() for p in parts):
        raise typer.BadParameter(f"{text!r} is not {wanted}", param_hint=option)
    return int(parts[0]), int(parts[1])
