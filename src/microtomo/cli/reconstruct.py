"""``microtomo reconstruct``: a scan in, thickness, error bars and volume out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import GivenForward
from microtomo.errors import MicrotomoError, nearest

if TYPE_CHECKING:
    from microtomo.scan import Reconstruction

_BATCH_BYTES = 64e6
_MANY = 0.05  # share of pixels with a status that is worth a warning


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
    pixel_nm: Annotated[float | None, typer.Option(help="Pixel size in nm; else the file's own.")] = None,
    voxel_nm: Annotated[float, typer.Option(help="Voxel height in nm.")] = 10.0,
    rule: Annotated[str, typer.Option(help="How thickness fills voxels: floor or centre.")] = "floor",
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    samples: Annotated[str | None, typer.Option(help="Part of a file with many samples: 0:10 or 7.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples in memory at a time.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
    ] = None,
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

    from microtomo.cli.progress import progress
    from microtomo.errors import naming
    from microtomo.inverse.reconstruct import reconstruct as run
    from microtomo.io.atomic import check_output
    from microtomo.io.reconstructions import new_reconstruction
    from microtomo.io.sources import open_scan
    from microtomo.registry import get_method

    check_output(output)
    get_method(method)
    _check_device(device)
    tally = _Tally()
    with open_scan(scan, given_energies, pixel_nm, stack, forward) as source:
        if "energies_kev" in source.history:
            e, name = source.energies_kev, source.stack.name if source.stack else "au-al-si"
            _tell(f"note: {scan} says no energies: {e[0]:g}..{e[-1]:g} keV are taken from stack {name}")
        numbers = source.select(chosen)
        if batch is None:
            each = source.data.nbytes / (source.samples or 1)
            batch = max(1, min(64, int(_BATCH_BYTES / each)))
        count = 1 if numbers is None else len(numbers)
        origin: dict[str, Any] = {"input": str(scan), "input_sha256": source.sha256()}
        if options:
            origin["options"] = options
        with new_reconstruction(output, numbers, source.files, **origin) as writer, progress(count, "samples") as show:
            for part in source.batches(batch, chosen):
                piece = source.read(part)
                with naming(scan):
                    if region is not None:
                        piece = piece.normalised(*region)
                    rec = run(
                        piece,
                        method,
                        forward=piece.forward,
                        noise=noise,
                        voxel_nm=voxel_nm,
                        rule=rule,
                        device=device,
                        **options,
                    )
                writer.add(rec, piece.truth)
                tally.add(rec)
                show(tally.samples)
    if as_json:
        typer.echo(json.dumps({"output": str(output), **tally.as_dict()}))
    else:
        typer.echo(f"{tally.line()}; written to {output}")
    for warning in tally.warnings():
        _tell(f"warning: {warning}")


def parse_energies(text: str) -> tuple[float, ...]:
    """Energies [keV] from ``5:35`` (step 1, both ends), ``5:35:2`` or ``5,7.5,10``."""
    import math

    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        first, last, step = (float(part) for part in (text if text.count(":") == 2 else f"{text}:1").split(":"))
        if not (math.isfinite(first + last + step) and step > 0 and last >= first and (last - first) / step < 1e5):
            raise ValueError
    except ValueError:
        raise MicrotomoError(f"--energies {text}: not understood: write 5:35, 5:35:2 or 5,7.5,10 (keV)") from None
    return tuple(first + i * step for i in range(int((last - first) / step + 1e-6) + 1))


def parse_slice(text: str, name: str) -> slice:
    """A slice from ``0:10``, ``:10``, ``5:`` or ``7`` (that one alone)."""
    try:
        ends = [int(part) if part else None for part in text.split(":")]
        if len(ends) == 1 and ends[0] is not None and ends[0] >= 0:
            return slice(ends[0], ends[0] + 1)
        if len(ends) == 2 and all(end is None or end >= 0 for end in ends):
            return slice(*ends)
    except ValueError:
        pass
    raise MicrotomoError(f"{name} {text}: not understood: write 0:10 (0 to 9) or 7")


def parse_region(text: str) -> tuple[slice, slice]:
    """Rows and columns from ``0:10,0:128``."""
    parts = text.split(",")
    if len(parts) != 2:
        raise MicrotomoError(f"--substrate {text}: not understood: write rows,columns in pixels, such as 0:10,0:128")
    return parse_slice(parts[0], "--substrate"), parse_slice(parts[1], "--substrate")


def parse_setting(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``: the value as TOML reads it, else as text."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise MicrotomoError(f"--set {text}: not understood: write --set key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


class _Tally:
    """Adds up how the reconstruction of all samples went."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._pixels = self._fitted = self.samples = 0
        self._chi = self._seconds = self._noise = 0.0
        self._method = self._forward = ""

    def add(self, rec: Reconstruction) -> None:
        import numpy as np

        from microtomo.scan import Status

        status, chi = np.asarray(rec.status), np.asarray(rec.chi_square, dtype=float)
        for code in Status:
            self._counts[code] = self._counts.get(code, 0) + int((status == code).sum())
        count = len(status) if status.ndim == 3 else 1
        self._pixels, self.samples = self._pixels + status.size, self.samples + count
        finite = np.isfinite(chi)
        self._chi, self._fitted = self._chi + float(chi[finite].sum()), self._fitted + int(finite.sum())
        self._seconds += rec.seconds
        self._noise += rec.noise * count
        self._method, self._forward = rec.method, rec.forward

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": self._method,
            "forward": self._forward,
            "samples": self.samples,
            "noise": self._noise / self.samples,
            "chi_square": self._chi / self._fitted if self._fitted else None,
            "status": {code.name.lower(): count / self._pixels for code, count in self._counts.items()},
            "seconds": self._seconds,
        }

    def line(self) -> str:
        told = self.as_dict()
        shares = ", ".join(f"{share:.1%} {name.replace('_', ' ')}" for name, share in told["status"].items() if share)
        count = f"{self.samples} samples, " if self.samples > 1 else ""
        fit = "none" if told["chi_square"] is None else f"{told['chi_square']:.2f}"
        return (
            f"{self._method} ({self._forward}): {count}{shares}; mean chi-square {fit}; "
            f"noise {told['noise']:.1%}; {self._seconds:.2f} s"
        )

    def warnings(self) -> list[str]:
        return [
            f"{count / self._pixels:.1%} of the pixels: {code.message}"
            for code, count in self._counts.items()
            if code != 0 and count > _MANY * self._pixels
        ]


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
