"""Axes of HyperSpy from energies and pixels, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.hdf5 import in_nm
from microtomo.io.names import ENERGY_NAMES
from microtomo.io.vendor import KEV_OF

_DIGITS = 12  # significant ones of an energy on an even axis: its steps are sums of floating point numbers

AxisTable = dict[str, Any]
"""One axis in the words of HyperSpy's dictionaries."""


def index_axis(name: str, size: int, first: int = 0) -> AxisTable:
    """A navigation axis that counts."""
    return {"name": name, "size": size, "offset": first, "scale": 1, "units": "", "navigate": True}


def energy_axis(energies_kev: Sequence[float]) -> AxisTable:
    """The navigation axis of beam energies [keV]: even where that loses nothing, else with each value."""
    values = np.asarray(energies_kev, dtype=float)
    axis: AxisTable = {"name": "energy", "units": "keV", "navigate": True}
    step = float(f"{values[1] - values[0]:.{_DIGITS}g}") if len(values) > 1 else 1.0
    even = values[0] + step * np.arange(len(values))
    if _rounded(even) == tuple(values):
        return {**axis, "size": len(values), "offset": float(values[0]), "scale": step}
    return {**axis, "axis": values}


def pixel_axes(height: int, width: int, pixel_nm: float) -> list[AxisTable]:
    """The signal axes y and x [nm] of an image."""
    sizes = {"y": height, "x": width}
    even = {"offset": 0.0, "scale": float(pixel_nm), "units": "nm", "navigate": False}
    return [{"name": name, "size": size, **even} for name, size in sizes.items()]


def energies_of(axis: Any) -> tuple[float, ...]:
    """Beam energies [keV] of a navigation axis of HyperSpy."""
    per = KEV_OF.get(_units(axis), 1.0)
    values = np.asarray(axis.axis, dtype=float) * per
    return _rounded(values) if axis.is_uniform else tuple(float(v) for v in values)


def find_energy_axis(axes: Sequence[Any]) -> Any:
    """The one of HyperSpy's navigation axes that is of beam energies: by its unit, else by its name.

    Raises MicrotomoError where there is none.
    """
    for axis in axes:
        if _units(axis) in KEV_OF or str(axis.name).lower() in ENERGY_NAMES:
            return axis
    raise MicrotomoError(
        "no navigation axis of the signal is of beam energies: give it its energies and say "
        "s.axes_manager.navigation_axes[0].units = 'keV'"
    )


def pixel_of(axes: Sequence[Any], default_nm: float) -> float:
    """Side of a pixel [nm] from the signal axes; ``default_nm`` where they have no unit of length.

    Raises MicrotomoError for pixels that are not square.
    """
    if not all(axis.is_uniform for axis in axes):
        raise MicrotomoError("the axes of the image are uneven: resample it with s.interpolate_on_axis")
    sizes = [in_nm(abs(float(axis.scale)), _units(axis)) for axis in axes]
    known = [size for size in sizes if size is not None]
    if not known:
        return default_nm
    if len(known) == len(sizes) and not math.isclose(*known, rel_tol=1e-3):
        shown = " x ".join(f"{size:g}" for size in known)
        raise MicrotomoError(f"pixels are {shown} nm, not square: resample the images")
    return known[0]


def _units(axis: Any) -> str:
    return str(axis.units).strip().lower()


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
