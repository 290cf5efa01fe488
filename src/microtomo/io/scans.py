"""Scans and what is true of them on disk: NeXus/HDF5 out, and in from every accepted kind of file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import read_npy, read_npz, to_numpy
from microtomo.io.atomic import writing
from microtomo.io.hdf5 import reading
from microtomo.io.kinds import NPY, NPZ, format_of
from microtomo.io.new_hdf5 import new_hdf5
from microtomo.io.nexus import FORWARD, THICKNESS, TRUTH, VOLUME, address, create_scan, open_nexus
from microtomo.io.sources import open_scan
from microtomo.io.stored import load
from microtomo.materials import Stack
from microtomo.scan import Scan


def write_scan(path: str | Path, scan: Scan) -> None:
    """Write a scan, with its stack, forward model, noise level and true thickness where known, as a NeXus file.

    Raises MicrotomoError when the file cannot be written; nothing stands under ``path`` then that was not there before.
    """
    data = to_numpy(scan.data)
    truth = None if scan.truth is None else to_numpy(scan.truth)
    attributes = {
        "stack": scan.stack, FORWARD: scan.forward, "noise": scan.noise, "pixel_nm": scan.pixel_nm,
        "config": scan.history,
    }  # fmt: skip
    with new_hdf5(path, needs_bytes=data.nbytes) as (file, _), writing(path):
        signal, thickness = create_scan(
            file,
            data.shape,
            data.dtype,
            energies_kev=scan.energies_kev,
            pixel_nm=scan.pixel_nm,
            attributes=attributes,
            layers=None if truth is None else truth.shape[-3],
        )
        signal[...] = data
        if thickness is not None:
            thickness[...] = truth


def read_scan(
    path: str | Path,
    energies_kev: tuple[float, ...] | None = None,
    pixel_nm: float | None = None,
    stack: Stack | str | Path | None = None,
    forward: str | None = None,
    samples: slice | None = None,
) -> Scan:
    """Read a scan of any accepted kind; what is given here goes before what the file says.

    Accepted are NeXus and plain HDF5 files, the folder (or ``index.h5``) of a data set, ``.npy`` and ``.npz`` arrays,
    a multi-page TIFF and a folder of TIFF images. Arrays and images without energies get those of the stack
    (``au-al-si`` when none is given) if their number fits. ``samples`` takes a part of a file with many scans.
    Values are as in the file, NaN included: :func:`microtomo.reconstruct` is what checks them.

    Raises MicrotomoError, with the file name, for anything that cannot be read as a scan.
    """
    with open_scan(path, energies_kev, pixel_nm, stack, forward) as source:
        return source.read(samples)


def iter_scans(path: str | Path, batch: int = 16, **given: Any) -> Iterator[Scan]:
    """The scans of a file with a sample axis, ``batch`` at a time; one scan without that axis as it is.

    Memory stays at one batch. ``given`` is as for :func:`read_scan`.
    """
    with open_scan(path, **given) as source:
        yield from (source.read(part) for part in source.batches(batch))


class Truth(NamedTuple):
    """What is known to be true: thickness ([n,] l, y, x) [nm] and, where stored, the volume ([n,] z, y, x)."""

    thickness: np.ndarray
    volume: np.ndarray | None


def read_truth(path: str | Path, samples: slice | None = None) -> Truth:
    """True thickness, and volume if there is one, from a scan file, a data set, a reconstruction file or an array.

    A reconstruction file that carries a truth gives that one, else its own thickness and volume.
    Raises MicrotomoError where there is no thickness.
    """
    path = Path(path)
    part = samples or slice(None)
    if format_of(path) is NPY:
        return Truth(np.asarray(read_npy(path).data), None)
    if format_of(path) is NPZ:
        return Truth(read_npz(path, ("thickness", "thickness_nm", "truth")).data, None)
    with open_nexus(path) as (_, entry), reading(path):
        for group in (TRUTH, THICKNESS):
            if entry is not None and (thickness := entry.data(group)) is not None:
                volume = entry.data(VOLUME) if group == THICKNESS else None
                where = part if thickness.ndim == 4 else ...
                return Truth(load(path, thickness, where), None if volume is None else load(path, volume, where))
    raise MicrotomoError(f"{path}: lacks the data set {address(THICKNESS)}, a true thickness: was the scan simulated?")
