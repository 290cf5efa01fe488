"""Elastic scattering for the Monte Carlo: total cross-sections and the probability of larger angles, two families.

Mott: tabulated differential cross-sections (Czyzewski, MacCallum, Romig & Joy, J. Appl. Phys. 68 (1990) 3066).
Browning: empirical total cross-sections (Browning, Li, Chui, Ye, Pease, Czyzewski & Joy, J. Appl. Phys. 76 (1994)
2016), shared between screened Rutherford and isotropic scattering (Browning et al., Scanning 17 (1995) 250).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from microtomo.physics.cross_sections import mott_table

MOTT, BROWNING = "mott", "browning"
ANGLES = 6001  # points of the angular grid, dense near 0: pi t^2
_NM2_PER_SQUARE_ANGSTROM = 1e-2
_NM2_PER_CM2 = 1e14


@lru_cache(maxsize=1)
def angle_grid() -> np.ndarray:
    """Scattering angles [rad], 0 to pi, (ANGLES,)."""
    return np.asarray(np.pi * np.linspace(0, 1, ANGLES) ** 2)


@lru_cache(maxsize=1)
def one_minus_cos() -> np.ndarray:
    """1 - cos of :func:`angle_grid`, without cancellation."""
    return np.asarray(2 * np.sin(angle_grid() / 2) ** 2)


@lru_cache(maxsize=32)
def mott_elastic(z: int, energies_kev: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Total cross-section [nm2] (e,) and probability of a larger angle than on :func:`angle_grid` (e, angle).

    Log-log PCHIP in energy at each angle, the power law of 25 to 30 keV above. In angle, PCHIP of
    the cross-section to the power -1/2 over 1 - cos, which is a straight line for screened Rutherford scattering.
    """
    energies, angles, table = mott_table()
    log_e, log_table = np.log(energies), np.log(table[z - 1] * _NM2_PER_SQUARE_ANGSTROM)
    wanted = np.log(np.array(energies_kev))
    slope = (log_table[-1] - log_table[-2]) / (log_e[-1] - log_e[-2])
    beyond = np.maximum(wanted - log_e[-1], 0)[:, None]
    at_energies = PchipInterpolator(log_e, log_table, axis=0)(np.minimum(wanted, log_e[-1])) + beyond * slope
    grid = angle_grid()
    root = PchipInterpolator(2 * np.sin(angles / 2) ** 2, np.exp(-at_energies / 2), axis=1)
    density = 2 * np.pi * root(one_minus_cos()) ** -2 * np.sin(grid)
    steps = (density[:, 1:] + density[:, :-1]) / 2 * np.diff(grid)
    beyond_angle = np.zeros((len(energies_kev), grid.size))
    beyond_angle[:, :-1] = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    total = beyond_angle[:, 0].copy()
    return total, beyond_angle / total[:, None]


def browning_elastic(z: int, energies_kev: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same of Browning's family: total 3e-18 Z^1.7 / (E + ...) cm2, screened Rutherford share r / (1 + r)."""
    e = np.array(energies_kev)
    total = 3e-18 * z**1.7 / (e + 0.005 * z**1.7 * np.sqrt(e) + 0.0007 * z**2 / np.sqrt(e)) * _NM2_PER_CM2
    ratio = 300 * e ** (1 - z / 2000) / z + z**3 / (3e5 * e)
    share = (ratio / (1 + ratio))[:, None]
    tail = share * screened_rutherford_tail(7e-3 / e[:, None]) + (1 - share) * (1 - one_minus_cos() / 2)
    return total, tail


def screened_rutherford_tail(screening: np.ndarray) -> np.ndarray:
    """Probability of a larger angle under screened Rutherford scattering: a (2 - x) / (x + 2 a), x = 1 - cos."""
    x = one_minus_cos()
    return np.asarray(screening * (2 - x) / (x + 2 * screening))
