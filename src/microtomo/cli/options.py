"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from microtomo.errors import MicrotomoError

_FORWARD = "Forward model: {forward models}; see docs/physics.md"

Forward = Annotated[str, typer.Option("--forward", "--contrast", metavar="MODEL", help=f"{_FORWARD}.")]
"""The forward model of a verb that has a default of its own."""

GivenForward = Annotated[
    str | None, typer.Option("--forward", "--contrast", metavar="MODEL", help=f"{_FORWARD}; else what the file says.")
]
"""The forward model where a file or a configuration may say it."""

Spread = Annotated[
    str | None,
    typer.Option(
        "--spread",
        metavar="SUBSTRATE|FILE",
        help="Lateral spread: electrons leave elsewhere than they entered. Name of the substrate, or file of kernels.",
    ),
]
"""Lateral spread of electrons."""

BeamNm = Annotated[float | None, typer.Option("--beam-nm", min=0, help="Beam diameter (FWHM) in nm, with --spread.")]
"""Diameter of the beam."""


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


def parse_region(text: str, name: str = "--substrate") -> tuple[slice, slice]:
    """Rows and columns from ``0:10,0:128``."""
    parts = text.split(",")
    if len(parts) != 2:
        raise MicrotomoError(f"{name} {text}: not understood: write rows,columns in pixels, such as 0:10,0:128")
    return parse_slice(parts[0], name), parse_slice(parts[1], name)


def parse_setting(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``: the value as TOML reads it, else as text."""
    from microtomo.settings import toml_value

    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise MicrotomoError(f"--set {text}: not understood: write --set key=value")
    return key.strip(), toml_value(value.strip())


HDF5_SUFFIXES = (".h5", ".hdf5", ".nxs")
"""Ends of names of scans and reconstructions that are written."""

Force = Annotated[bool, typer.Option("--force", help="Write over files that are there already.")]
"""Whether outputs may replace older files."""

Roi = Annotated[
    str | None, typer.Option("--roi", help="Region of interest: rows,columns in pixels, such as 0:256,100:356.")
]
"""The part of the images to work on."""

Mask = Annotated[
    Path | None, typer.Option("--mask", help="Image of the same size (.png, .tif, .npy): where it is 0 is left out.")
]
"""Pixels to work on."""


def new_file(path: Path, force: bool, suffixes: Sequence[str] = (), what: str = "it") -> None:
    """Raise MicrotomoError where an output is there already, unless ``force``, or does not end in one of ``suffixes``,
    which are those of ``what``."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise MicrotomoError(f"{path}: {what} is written as {' or '.join(suffixes)}: choose such a name")
    if not force and path.exists() and not path.is_dir():
        raise MicrotomoError(f"{path}: is there already: add --force to write over it, or choose another name")


def new_files(paths: Sequence[Path | None], force: bool) -> None:
    """The same for all outputs that are asked for."""
    for path in paths:
        if path is not None:
            new_file(path, force)


def read_mask_of(mask: Path | None) -> Any:
    """The mask (y, x) of a file, True where it is not 0; None without one."""
    if mask is None:
        return None
    from microtomo.io.micrographs import read_mask

    return read_mask(mask)
