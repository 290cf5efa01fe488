"""``microtomo reconstruct``: a scan in, thickness, error bars and volume out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import (
    HDF5_SUFFIXES,
    BeamNm,
    Force,
    GivenForward,
    Mask,
    Roi,
    Spread,
    new_file,
    parse_energies,
    parse_region,
    parse_setting,
    parse_slice,
)
from microtomo.cli.say import say, tell
from microtomo.errors import MicrotomoError, nearest

if TYPE_CHECKING:
    from microtomo.inverse.files import Summary


def reconstruct(
    scans: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN...",
            help="HDF5/NeXus, .npy, .npz, TIFF stack, folder of TIFFs, or data set; many, or a pattern like 'a*.h5'.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write; a folder for many scans.")],
    method: Annotated[str, typer.Option(help="Method, see `microtomo models`.")] = "map",
    forward: GivenForward = None,
    noise: Annotated[
        float | None, typer.Option(help="Relative noise, 0.02 = 2 %; else estimated from the scan.")
    ] = None,
    stack: Annotated[
        str | None, typer.Option(help="Built-in stack or .toml file; else the file's own, else au-al-si.")
    ] = None,
    energies: Annotated[str | None, typer.Option(help="Beam energies in keV: 5:35, 5:35:2 or 5,7.5,10.")] = None,
    substrate: Annotated[
        str | None, typer.Option(help="Bare substrate to normalise to: rows,columns such as 0:10,0:128.")
    ] = None,
    roi: Roi = None,
    mask: Mask = None,
    spread: Spread = None,
    beam_nm: BeamNm = None,
    pixel_nm: Annotated[float | None, typer.Option(help="Pixel size in nm; else the file's own.")] = None,
    voxel_nm: Annotated[float, typer.Option(help="Voxel height in nm.")] = 10.0,
    rule: Annotated[str, typer.Option(help="How thickness fills voxels: floor or centre.")] = "floor",
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    samples: Annotated[str | None, typer.Option(help="Part of a file with many samples: 0:10 or 7.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples in memory at a time.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
    ] = None,
    force: Force = False,
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Take the scan as it stands: mend no gain, shading, drift, hot or dead value."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, a line a scan.")] = False,
) -> None:
    """Reconstruct thickness, uncertainty and volume from a scan, or from every sample of many.

    Many scans go into a folder, NAME.h5 each: run it again to finish what was interrupted.
    """
    for name, size in (("--pixel-nm", pixel_nm), ("--voxel-nm", voxel_nm)):
        if size is not None and not 0 < size < float("inf"):
            raise MicrotomoError(f"{name} {size:g}: must be a positive size in nm")
    given_energies = None if energies is None else parse_energies(energies)
    chosen = None if samples is None else parse_slice(samples, "--samples")
    region = None if substrate is None else parse_region(substrate)
    part = None if roi is None else parse_region(roi, "--roi")

    from microtomo.cli.progress import prepare_for
    from microtomo.inverse.batches import scans_of
    from microtomo.io.atomic import check_output

    _check_device(device)
    given = {"energies_kev": given_energies, "pixel_nm": pixel_nm, "stack": stack, "forward": forward}
    around: dict[str, Any] = {} if spread is None else {"spread": spread, "beam_fwhm_nm": beam_nm or 0.0}
    job = {
        "given": given, "samples": chosen, "substrate": region, "roi": part, "mask": mask, "batch": batch,
        "options": dict(parse_setting(setting) for setting in settings or []),
        "noise": noise, "voxel_nm": voxel_nm, "rule": rule, "device": device, "as_is": as_is, **around,
    }  # fmt: skip
    paths, many = scans_of(scans), _to_folder(scans, output)
    if not many:
        check_output(output, paths)
        new_file(output, force, HDF5_SUFFIXES, "a reconstruction")
    prepare_for(paths[0], given)
    if many:
        _many(paths, output, method, force, as_json, job)
    else:
        _one(paths[0], output, method, as_json, job)


def _to_folder(scans: list[str], output: Path) -> bool:
    """Whether the results go into a folder: of many scans, of a pattern, and where the output is one."""
    return len(scans) > 1 or not Path(scans[0]).exists() or output.is_dir() or not output.suffix


def _one(scan: Path, output: Path, method: str, as_json: bool, job: dict[str, Any]) -> None:
    from microtomo.cli.progress import progress
    from microtomo.inverse.files import reconstruct_file

    with progress(unit="samples") as show:
        told = reconstruct_file(scan, output, method, progress=lambda done, total: show(done, total=total), **job)
    _show(told, output, as_json)


def _many(scans: list[Path], folder: Path, method: str, force: bool, as_json: bool, job: dict[str, Any]) -> None:
    from microtomo.cli.progress import progress, resumable
    from microtomo.inverse.batches import reconstruct_files

    refused, kept = [], 0
    results = []
    with resumable(f"finished reconstructions stay in {folder}"), progress(len(scans), "scans") as show:
        for path, target, outcome in reconstruct_files(scans, folder, method, again=force, progress=show, **job):
            if isinstance(outcome, MicrotomoError):
                refused.append(path)
                tell(f"warning: {outcome}")
            elif outcome is None:
                kept += 1
            else:
                results.append((outcome, target))
    for outcome, target in results:
        _show(outcome, target, as_json)
    if kept:
        tell(f"{kept} of {len(scans)} were there already")
    if refused:
        raise MicrotomoError(f"{len(refused)} of {len(scans)} scans could not be reconstructed, see above")


def _show(summary: Summary, output: Path, as_json: bool) -> None:
    for note in summary.notes:
        tell(f"note: {note}")
    if as_json:
        say(json.dumps({"output": str(output), **summary.as_dict()}))
    else:
        say(f"{summary.line()}; written to {output}")
    for warning in summary.warnings():
        tell(f"warning: {warning}")


def _check_device(device: str | None) -> None:
    if device is None:
        return
    import torch

    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise MicrotomoError(f"unknown device {device!r}; {nearest(kind, ['cpu', 'cuda'])}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise MicrotomoError("--device cuda: PyTorch sees no GPU: leave it out, or see `microtomo doctor`")
