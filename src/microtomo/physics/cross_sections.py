"""What electrons meet in a material: elastic scattering (tabulated Mott) and slowing down (Joy & Luo)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from microtomo.elements import ELEMENTS, mass_fractions
from microtomo.errors import MicrotomoError
from microtomo.materials import Material

LOWEST_KEV = 0.05
"""Electrons slower than this count as stopped: 50 eV, the usual border to secondary electrons."""

HIGHEST_KEV = 50.0
"""Highest beam energy. The table ends at 30 keV, above it moments follow their power law; Joy and Luo's stopping power
is not relativistic: it is 8 % low at 30 keV, 13 % at 50 keV, and a quarter at 100 keV."""

AVOGADRO = 6.02214076e23  # 1/mol
_CM2_PER_A2 = 1e-16
_CM_PER_NM = 1e-7
_FAULTY = ("Rb", "Mo")
_POINTS = 8  # Gauss points in each of the 95 intervals of angle: moments up to order 31 to rounding
_TAIL = -3  # the power law above 30 keV has the slope between 20 and 30 keV


@cache
def mott_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (26,) [keV], angles (96,) [rad] and differential cross-sections (94, 26, 96) [A^2/sr] of Z = 1 to 94.

    Czyzewski, MacCallum, Romig, Joy, J. Appl. Phys. 68 (1990) 3066. Rubidium and molybdenum, whose tables are faulty
    (their totals are 20 and 55 % below the trend in Z), are the geometric means of their neighbours.
    """
    with (
        files("microtomo.physics").joinpath("data", "czyzewski1990.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        table = stored["cross_section_a2_sr"].astype(float)
        energies, angles = stored["energy_kev"], np.radians(stored["angle_deg"])
    for symbol in _FAULTY:
        row = ELEMENTS[symbol].atomic_number - 1
        table[row] = np.sqrt(table[row - 1] * table[row + 1])
    return energies, angles, table


@cache
def elastic_moments(atomic_number: int, order: int) -> np.ndarray:
    """Transport cross-sections of one atom at the energies of the table: (26, order + 1) [A^2].

        sigma_l = 2 pi int dsigma/dOmega (1 - P_l(cos theta)) sin theta dtheta,   l = 0..order

    Column 0, where this is zero, holds the total cross-section instead. log dsigma/dOmega is linear between angles.
    """
    _, angles, table = mott_table()
    x, weight = leggauss(_POINTS)
    width = np.diff(angles)[:, None]
    theta = (angles[:-1, None] + width * (x + 1) / 2).ravel()
    measure = 2 * np.pi * np.sin(theta) * (width * weight / 2).ravel()
    logs = np.log(table[atomic_number - 1])
    density = np.exp(np.stack([np.interp(theta, angles, row) for row in logs])) * measure
    loss = 1 - np.polynomial.legendre.legvander(np.cos(theta), order)
    loss[:, 0] = 1
    return np.asarray(density @ loss)


def atoms_per_nm3(material: Material) -> dict[str, float]:
    """Number density of each element of a material [1/nm^3]."""
    grams = {s: share * material.density_g_cm3 for s, share in mass_fractions(material.atoms).items()}
    return {s: g / ELEMENTS[s].atomic_weight * AVOGADRO * _CM_PER_NM**3 for s, g in grams.items()}


def transport_moments(
    material: Material, energies_kev: ArrayLike, order: int, inelastic_deflection: bool = True
) -> np.ndarray:
    """Macroscopic transport moments N sigma_l of a material: (e, order + 1) [1/nm]; column 0 is the inverse mean free
    path of elastic scattering.

    Log-log PCHIP in energy; above 30 keV a power law. Atoms of a compound add up by their number densities.
    ``inelastic_deflection`` multiplies by (Z + 1)/Z, for the deflection in collisions with electrons
    (Fano, Phys. Rev. 93 (1954) 117).

    Raises MicrotomoError for a material without known composition and for energies outside the table.
    """
    energies = np.atleast_1d(np.asarray(energies_kev, dtype=float))
    known = mott_table()[0]
    if energies.min() < known[0] or energies.max() > HIGHEST_KEV:
        raise MicrotomoError(
            f"cross-sections reach from {known[0]:g} to {HIGHEST_KEV:g} keV, not {energies.min():g}.."
            f"{energies.max():g} keV"
        )
    x, at = np.log(known), np.log(energies)
    beyond = np.maximum(at - x[-1], 0)[:, None]
    total = np.zeros((len(energies), order + 1))
    for symbol, number in atoms_per_nm3(material).items():
        z = ELEMENTS[symbol].atomic_number
        y = np.log(elastic_moments(z, order))
        slope = (y[-1] - y[_TAIL]) / (x[-1] - x[_TAIL])
        sigma_nm2 = np.exp(PchipInterpolator(x, y)(np.minimum(at, x[-1])) + beyond * slope) * 1e-2
        total += number * sigma_nm2 * ((z + 1) / z if inelastic_deflection else 1)
    return total


def mean_ionisation_energy_kev(atomic_number: int) -> float:
    """J of Berger & Seltzer (1964): 11.5 Z eV below Z = 13, else (9.76 Z + 58.5 Z^-0.19) eV."""
    z = atomic_number
    return (11.5 * z if z < 13 else 9.76 * z + 58.5 * z**-0.19) * 1e-3


def stopping_power(material: Material, energies_kev: ArrayLike) -> np.ndarray:
    """Energy lost along the path: (e,) [keV/nm] (Joy & Luo, Scanning 11 (1989) 176), compounds by Bragg's rule.

        S = 78500 rho sum_i c_i Z_i/(A_i E) ln(1.166 (E + k_i J_i)/J_i) keV/cm,   k = 0.731 + 0.0688 log10 Z

    with mass fractions c_i, E and J in keV, rho in g/cm3.
    """
    energies = np.atleast_1d(np.asarray(energies_kev, dtype=float))
    total = np.zeros_like(energies)
    for symbol, share in mass_fractions(material.atoms).items():
        z, weight, _ = ELEMENTS[symbol]
        j = mean_ionisation_energy_kev(z)
        k = 0.731 + 0.0688 * np.log10(z)
        total += share * z / weight * np.log(1.166 * (energies + k * j) / j)
    loss: np.ndarray = 78500 * material.density_g_cm3 * total / energies * _CM_PER_NM
    return loss
