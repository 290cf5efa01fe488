"""``microtomo segment``: a micrograph in, the mask of its contaminants out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from microtomo.tem.segmentation import Segmentation


def segment(
    image: Annotated[Path, typer.Argument(metavar="IMAGE|FOLDER", help="TIFF, PNG, .npy, .dm3 or .dm4, or many.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MASK.png (255 in the mask), or a folder for many.")],
    method: Annotated[str, typer.Option(help="Method of task tem, see `microtomo models`.")] = "bragg",
    binning: Annotated[
        int | None, typer.Option(min=1, help="Pixels to bin first; else so that the shorter side is 256 to 511.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
    ] = None,
    maps: Annotated[
        bool,
        typer.Option("--maps", help="Write NAME_probability.tif too, and NAME_uncertainty.tif where a method has one."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an image.")] = False,
) -> None:
    """Find the contaminants (amorphous carbon) on micrographs of graphene: mask and overlay for each image."""
    import sys

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn

    from microtomo.cli.reconstruct import parse_setting

    options = dict(parse_setting(setting) for setting in settings or [])
    work = jobs(image, output)
    hidden = len(work) == 1 or not sys.stderr.isatty()
    late = not hidden and sys.stdout.isatty()  # on one terminal, lines would run into the bar
    lines = []
    columns = (SpinnerColumn(), *Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden, redirect_stdout=False) as bar:
        for path, mask_path in bar.track(work, description="images"):
            found = segmented(path, method, binning, options)
            write(found, path, mask_path, maps)
            lines.append(told(found, path, mask_path, as_json))
            if not late:
                typer.echo(lines.pop())
    for line in lines:
        typer.echo(line)


def jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Images and the masks to write for them, checked before any work: one to one, or a folder to a folder."""
    from microtomo.errors import MicrotomoError
    from microtomo.io.atomic import check_output
    from microtomo.io.micrographs import list_micrographs

    if not source.is_dir():
        if not source.exists():
            raise MicrotomoError(f"{source}: does not exist: check the path")
        if output.is_dir():
            output = output / f"{source.stem}_mask.png"
        check_output(output, [source])
        if output.suffix.lower() not in (".png", ".tif", ".tiff"):
            raise MicrotomoError(f"{output}: a mask is written as .png or .tif: choose such a name")
        return [(source, output)]
    paths = list_micrographs(source)
    if output.exists() and not output.is_dir():
        raise MicrotomoError(f"{output}: is a file: for a folder of images give a folder to write to")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MicrotomoError(f"{output}: cannot be made ({error.strerror}): choose another folder") from error
    check_output(output / "mask.png")
    return [(path, output / f"{path.stem}_mask.png") for path in paths]


def segmented(path: Path, method: str, binning: int | None, options: dict[str, Any]) -> Segmentation:
    """Segmentation of an image file; errors name the file."""
    from microtomo.errors import naming
    from microtomo.io.micrographs import read_micrograph
    from microtomo.tem.segmentation import segment as run

    micrograph = read_micrograph(path)
    with naming(path):
        return run(micrograph.image, method, binning=binning, **options)


def write(found: Segmentation, path: Path, mask_path: Path, maps: bool = False) -> None:
    """The mask (0 and 255) and beside it the overlay, ``NAME_mask.png`` to ``NAME_overlay.png``.

    With ``maps`` also probability and uncertainty as float32 TIFF.
    """
    import numpy as np

    from microtomo.io.micrographs import read_micrograph, write_picture
    from microtomo.viz.micrographs import overlay

    write_picture(mask_path, np.where(found.mask, 255, 0).astype(np.uint8), (path,))
    name = mask_path.stem.removesuffix("_mask")
    write_picture(mask_path.with_name(f"{name}_overlay.png"), overlay(read_micrograph(path).image, found.mask), (path,))
    values = {"probability": found.probability, "uncertainty": found.uncertainty} if maps else {}
    for kind, value in values.items():
        if value is not None:
            write_picture(mask_path.with_name(f"{name}_{kind}.tif"), value.astype(np.float32), (path,))


def told(found: Segmentation, path: Path, mask_path: Path, as_json: bool) -> str:
    """The line that tells of an image."""
    import json

    if not as_json:
        return f"{path.name}: {found.covered:.1%} contaminated; written to {mask_path}"
    values = {"input": str(path), "mask": str(mask_path), "method": found.method, "covered": found.covered}
    return json.dumps({**values, "options": found.options})
