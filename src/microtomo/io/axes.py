"""Axes of HDF5 signals: energies, and the size of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.hdf5 import in_nm, text
from microtomo.io.stored import load


def axis_values(
    path: Path, signal: h5py.Dataset, axis: int, names: Sequence[str] = ()
) -> tuple[np.ndarray, str] | None:
    """Coordinates along ``axis`` (negative: from the last) of a signal and their unit, None where not given.

    Taken from the NXdata ``axes`` attribute, else from a sibling data set with one of the ``names``.
    """
    group = signal.parent
    named = [text(a) for a in np.atleast_1d(group.attrs.get("axes", []))]
    candidates = [named[axis]] if len(named) == signal.ndim else []
    for name in [*candidates, *names]:
        values = group.get(name)
        if isinstance(values, h5py.Dataset) and values.ndim == 1 and values.dtype.kind in "fiu":
            return np.asarray(load(path, values), dtype=float), text(values.attrs.get("units", ""))
    return None


def pixel_size(path: Path, signal: h5py.Dataset) -> float | None:
    """Pixel size [nm] from the axes of the signal, None where they say none. Raises where pixels are not square."""
    sizes = []
    for axis in (-2, -1):
        values, units = (axis_values(path, signal, axis) if signal.ndim in (3, 4) else None) or (np.empty(0), "")
        if len(values) > 1 and (per := in_nm(1.0, units)) is not None:
            sizes.append(float(values[-1] - values[0]) / (len(values) - 1) * per)
    if len(sizes) == 2 and not np.isclose(sizes[0], sizes[1], rtol=1e-3):
        raise MicrotomoError(f"{path}: pixels are {sizes[0]:g} x {sizes[1]:g} nm, not square: resample the images")
    return sizes[0] if sizes and sizes[0] > 0 else None
