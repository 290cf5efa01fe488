"""``microtomo reconstruct``: a scan in, thickness, error bars and volume out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from microtomo.cli.options import BeamNm, GivenForward, Spread, parse_energies, parse_region, parse_setting, parse_slice
from microtomo.errors import MicrotomoError, nearest


def reconstruct(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="HDF5/NeXus, .npy, .npz, TIFF stack, folder of TIFFs, or data set.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
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
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Take the scan as it stands: mend no gain, shading, drift, hot or dead value."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Reconstruct thickness, uncertainty and volume from a scan, or from every sample of many."""
    for name, size in (("--pixel-nm", pixel_nm), ("--voxel-nm", voxel_nm)):
        if size is not None and not 0 < size < float("inf"):
            raise MicrotomoError(f"{name} {size:g}: must be a positive size in nm")
    given_energies = None if energies is None else parse_energies(energies)
    chosen = None if samples is None else parse_slice(samples, "--samples")
    region = None if substrate is None else parse_region(substrate)
    options = dict(parse_setting(setting) for setting in settings or [])

    from microtomo.cli.progress import prepare_for, progress
    from microtomo.inverse.files import reconstruct_file

    _check_device(device)
    given = {"energies_kev": given_energies, "pixel_nm": pixel_nm, "stack": stack, "forward": forward}
    prepare_for(scan, given)
    around: dict[str, Any] = {} if spread is None else {"spread": spread, "beam_fwhm_nm": beam_nm or 0.0}
    with progress(unit="samples") as show:
        summary = reconstruct_file(
            scan, output, method, given=given, samples=chosen, substrate=region, batch=batch, options=options,
            progress=lambda done, total: show(done, total=total),
            noise=noise, voxel_nm=voxel_nm, rule=rule, device=device, as_is=as_is, **around,
        )  # fmt: skip
    for note in summary.notes:
        _tell(f"note: {note}")
    if as_json:
        typer.echo(json.dumps({"output": str(output), **summary.as_dict()}))
    else:
        typer.echo(f"{summary.line()}; written to {output}")
    for warning in summary.warnings():
        _tell(f"warning: {warning}")


def _check_device(device: str | None) -> None:
    if device is None:
        return
    import torch

    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise MicrotomoError(f"unknown device {device!r}; {nearest(kind, ['cpu', 'cuda'])}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise MicrotomoError("--device cuda: PyTorch sees no GPU: leave it out, or see `microtomo doctor`")


def _tell(message: str) -> None:
    typer.echo(message, err=True)
