"""``microtomo sort``, ``compress`` and ``expand``: which micrographs are worth keeping, and smaller files of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.options import Force, new_file
from microtomo.cli.say import say


def sort(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of micrographs.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file with the order.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Segmenter: {contaminant methods}; the first if not given."),
    ] = None,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Order micrographs by usable area: the share that no contaminant covers, largest first."""
    from microtomo.cli.segment import segmented
    from microtomo.io.atomic import check_output
    from microtomo.io.micrographs import list_micrographs
    from microtomo.io.tables import write_csv
    from microtomo.tem.graphene.reduction import usable_order

    if output is not None:
        new_file(output, force, (".csv",), "a table")
    paths = list_micrographs(folder)
    if output is not None:
        check_output(output, paths)
    masks = [segmented(path, method, "contaminant").mask for path in paths]
    rows = [(paths[k].name, 1 - float(masks[k].mean()), int((~masks[k]).sum())) for k in usable_order(masks)]
    if output is not None:
        lines = [[str(k), name, f"{share:.4f}", str(pixels)] for k, (name, share, pixels) in enumerate(rows, 1)]
        write_csv(output, ["rank", "image", "usable_share", "usable_pixels"], lines)
    if as_json:
        say(json.dumps([{"image": n, "usable_share": s, "usable_pixels": p} for n, s, p in rows]))
    else:
        for name, share, _ in rows:
            say(f"{share:6.1%}  {name}")


def compress(
    image: Annotated[Path, typer.Argument(metavar="IMAGE|FOLDER", help="Micrograph, or a folder of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.npz, or a folder for many.")],
    method: Annotated[
        str | None,
        typer.Option(help="Segmenter: {contaminant methods}; the first if not given."),
    ] = None,
    keep: Annotated[str, typer.Option(help="What stays as it is: graphene or contaminant.")] = "graphene",
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an image.")] = False,
) -> None:
    """Keep one class as recorded and make runs of one value of the other; prints the ratio."""
    from microtomo.cli.segment import segmented
    from microtomo.errors import MicrotomoError, nearest
    from microtomo.io.atomic import check_output
    from microtomo.io.micrographs import list_micrographs, read_pixels
    from microtomo.tem.graphene.reduction import compress as run
    from microtomo.tem.graphene.reduction import write_compressed

    if keep not in ("graphene", "contaminant"):
        raise MicrotomoError(f"--keep {keep}: unknown; {nearest(keep, ['graphene', 'contaminant'])}")
    if image.is_dir():
        paths = list_micrographs(image)
        if output.exists() and not output.is_dir():
            raise MicrotomoError(f"{output}: is a file: for a folder of images give a folder to write to")
        output.mkdir(parents=True, exist_ok=True)
        jobs = [(path, output / f"{path.stem}.npz") for path in paths]
    else:
        jobs = [(image, output)]
    for path, target in jobs:
        check_output(target, [path])
        new_file(target, force)
    for path, target in jobs:
        mask = segmented(path, method, "contaminant").mask
        smaller = run(read_pixels(path), mask if keep == "graphene" else ~mask)
        write_compressed(target, smaller)
        if as_json:
            say(json.dumps({"input": str(path), "output": str(target), "ratio": smaller.ratio}))
        else:
            say(f"{path.name}: {smaller.ratio:.2f} times smaller; written to {target}")


def expand(
    compressed: Annotated[Path, typer.Argument(metavar="FILE", help="What `microtomo compress` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="TIFF file to write.")],
    force: Force = False,
) -> None:
    """Turn a compressed micrograph back into a TIFF image: what was kept is as recorded."""
    from microtomo.errors import MicrotomoError, naming
    from microtomo.io.atomic import whole_file, writing
    from microtomo.io.kinds import TIFF
    from microtomo.tem.graphene.reduction import read_compressed

    if output.suffix.lower() not in TIFF.suffixes:
        raise MicrotomoError(f"{output}: images are written as .tif: choose such a name")
    new_file(output, force)
    with naming(compressed):
        image = read_compressed(compressed).expand()
    import tifffile

    with whole_file(output, [compressed]) as temporary, writing(output):
        tifffile.imwrite(temporary, image)
    say(f"{image.shape[0]} x {image.shape[1]} pixels written to {output}")
