"""``microtomo segment``: a micrograph in, the mask of its contaminants out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import Force

if TYPE_CHECKING:
    from microtomo.tem.segmentation import Segmentation


def segment(
    image: Annotated[Path, typer.Argument(metavar="IMAGE|FOLDER", help="TIFF, PNG, .npy, .dm3 or .dm4, or many.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MASK.png (255 in the mask), or a folder for many.")],
    method: Annotated[
        str | None,
        typer.Option(help="One of {micrograph methods}; else the best for the task that comes with the package."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What to find: {micrograph tasks}; else what --method is for, else contaminant.")
    ] = None,
    binning: Annotated[
        int | None, typer.Option(min=1, help="Pixels to bin first; else to the working size of the task.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
    ] = None,
    maps: Annotated[
        bool,
        typer.Option("--maps", help="Write NAME_probability.tif too, and NAME_uncertainty.tif where a method has one."),
    ] = False,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an image.")] = False,
) -> None:
    """Find what is on micrographs, such as contaminants (amorphous carbon) on graphene: a mask and an overlay for each.

    With more than two classes the mask holds their numbers 0, 1, ..., and there is a map of the probability of each.
    """
    from microtomo.cli.options import new_file, parse_setting
    from microtomo.cli.progress import each_of
    from microtomo.tem.segmentation import segmenter

    chosen = segmenter(method, task)
    options = dict(parse_setting(setting) for setting in settings or [])
    masks = dict(jobs(image, output))
    for mask in masks.values():
        new_file(mask, force)
    with each_of(list(masks)) as (paths, say):
        for path in paths:
            result = segmented(path, chosen.name, binning=binning, **options)
            write(result, chosen.task, path, masks[path], maps)
            say(summary(result, chosen.task, path, masks[path], as_json))


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


def segmented(path: Path, method: str | None, task: str | None = None, **options: Any) -> Segmentation:
    """Segmentation of an image file; errors name the file."""
    from microtomo.errors import naming
    from microtomo.io.micrographs import read_micrograph
    from microtomo.tem.segmentation import segment as run

    micrograph = read_micrograph(path)
    with naming(path):
        return run(micrograph.image, method, task=task, **options)


def write(result: Segmentation, task: str, path: Path, mask_path: Path, maps: bool = False) -> None:
    """The labels (0 and 255 of two classes) and beside them the overlay, ``NAME_mask.png`` to ``NAME_overlay.png``.

    With ``maps`` also probability and uncertainty as float32 TIFF.
    """
    import numpy as np

    from microtomo.io.micrographs import read_micrograph, write_picture
    from microtomo.registry import get_task
    from microtomo.viz.micrographs import overlay

    two = len(result.probabilities) == 2
    write_picture(mask_path, np.where(result.labels, np.uint8(255), np.uint8(0)) if two else result.labels, (path,))
    name = mask_path.stem.removesuffix("_mask")
    picture = overlay(read_micrograph(path).image, result.labels, get_task(task).classes)
    write_picture(mask_path.with_name(f"{name}_overlay.png"), picture, (path,))
    values = {"uncertainty": result.uncertainty}
    for label, probability in zip(get_task(task).classes, result.probabilities, strict=True):
        if not two:
            values[f"{label.name}_probability"] = probability
    if two:
        values["probability"] = result.probability
    for kind, value in values.items():
        if maps and value is not None:
            write_picture(mask_path.with_name(f"{name}_{kind}.tif"), value.astype(np.float32), (path,))


def summary(result: Segmentation, task: str, path: Path, mask_path: Path, as_json: bool) -> str:
    """The line about an image: which share of it each class other than the first has."""
    import json

    from microtomo.registry import get_task

    names = [label.name for label in get_task(task).classes]
    if not as_json:
        shares = ", ".join(f"{share:.1%} {name}" for name, share in zip(names[1:], result.shares[1:], strict=True))
        return f"{path.name}: {shares}; written to {mask_path}"
    values = {"input": str(path), "mask": str(mask_path), "method": result.method, "covered": sum(result.shares[1:])}
    by_name = dict(zip(names, result.shares, strict=True))
    return json.dumps({**values, "shares": by_name, "options": result.options})
