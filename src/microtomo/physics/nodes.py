"""At which thicknesses a table is solved: finer near 0, where the signal bends most."""

from __future__ import annotations

import numpy as np

from microtomo.materials import Material
from microtomo.physics.cross_sections import LOWEST_KEV, stopping_power

_RANGE_POINTS = 200  # energies of the integral that gives the range
_FIRST_STEPS, _LARGEST_STEPS = 500, 50  # first and largest step in parts of the range
_GROWTH, _GROWTH_DEEP = 0.4, 0.1  # largest step in parts of the depth: at first, and beyond the range
_FEWEST = 6  # nodes of a layer at least


def electron_range_nm(material: Material, energy_kev: float) -> float:
    """Path length of an electron until it stops: the integral of 1/S from 50 eV up [nm]."""
    energies = np.geomspace(LOWEST_KEV, energy_kev, _RANGE_POINTS)
    return float(np.trapezoid(1 / stopping_power(material, energies), energies))


def thickness_nodes(max_nm: float, range_nm: float, fineness: float = 1.0) -> np.ndarray:
    """Nodes from 0 to ``max_nm`` for a layer in which electrons of the lowest beam energy travel ``range_nm``.

    Steps are a power of two times the first one, range/500. A step doubles where it stays below 0.4 of the depth and
    below range/50 (or a tenth of the depth, since deeper only faster electrons matter). Cubic splines on these nodes
    differ from the solution by less than 1e-4 of bare silicon (``python benchmarks/physics.py splines``). ``fineness``
    0.5 doubles all steps.
    """
    first = range_nm / _FIRST_STEPS / fineness
    units, step = [0], 1
    while units[-1] * first < max_nm or len(units) < _FEWEST:
        depth = units[-1] * first
        most = min(_GROWTH * depth, max(range_nm / _LARGEST_STEPS / fineness, _GROWTH_DEEP * depth))
        while 2 * step * first <= most:
            step *= 2
        units.append(units[-1] + step)
    return np.asarray(units) * (max_nm / units[-1])
