"""Another family of elastic cross-sections, to see how far honest physics differ: Browning's fit with screened
Rutherford and isotropic shares (Browning, Li, Chui, Ye, Pease, Czyzewski & Joy, J. Appl. Phys. 76 (1994) 2016)."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import leggauss, legvander
from numpy.typing import ArrayLike

from microtomo.elements import ELEMENTS
from microtomo.materials import Material
from microtomo.physics.cross_sections import atoms_per_nm3

_NM2_PER_CM2 = 1e14
_POINTS = 96  # Gauss points in ln(1 - x + 2 alpha): moments up to order 31 to 1e-9


def browning_total_nm2(atomic_number: int, energies_kev: np.ndarray) -> np.ndarray:
    """Elastic cross-section of an atom: (e,) [nm^2].

    3e-18 Z^1.7 / (E + 0.005 Z^1.7 E^0.5 + 0.0007 Z^2 E^-0.5) cm^2, E in keV.
    """
    z, e = atomic_number, energies_kev
    total: np.ndarray = 3e-18 * z**1.7 / (e + 0.005 * z**1.7 * np.sqrt(e) + 0.0007 * z**2 / np.sqrt(e)) * _NM2_PER_CM2
    return total


def rutherford_share(atomic_number: int, energies_kev: np.ndarray) -> np.ndarray:
    """Share (e,) of the collisions that scatter as screened Rutherford, the others being isotropic: r / (1 + r) with
    r = 300 E^(1 - Z/2000) / Z + Z^3 / (3e5 E)."""
    z, e = atomic_number, energies_kev
    ratio = 300 * e ** (1 - z / 2000) / z + z**3 / (3e5 * e)
    share: np.ndarray = ratio / (1 + ratio)
    return share


def browning_moments(material: Material, energies_kev: ArrayLike, order: int) -> np.ndarray:
    """Macroscopic transport moments N sigma (1 - chi_l) of a material: (e, order + 1) [1/nm], column 0 the inverse mean
    free path, as :func:`microtomo.physics.cross_sections.transport_moments`.

    Screened Rutherford has dsigma/dOmega ~ (1 - cos theta + 2 alpha)^-2 with alpha = 7e-3 / E.
    """
    energies = np.atleast_1d(np.asarray(energies_kev, dtype=float))
    loss = _rutherford_losses(7e-3 / energies, order)
    total = np.zeros_like(loss)
    for symbol, number in atoms_per_nm3(material).items():
        z = ELEMENTS[symbol].atomic_number
        share = rutherford_share(z, energies)[:, None]
        mixed = share * loss + (1 - share)  # an isotropic collision forgets every moment
        mixed[:, 0] = 1
        total += number * browning_total_nm2(z, energies)[:, None] * mixed
    return total


def _rutherford_losses(alpha: np.ndarray, order: int) -> np.ndarray:
    """1 - chi_l (e, order + 1) of screened Rutherford, by quadrature in t = ln(1 - cos theta + 2 alpha)."""
    node, weight = leggauss(_POINTS)
    low, high = np.log(2 * alpha)[:, None], np.log(2 + 2 * alpha)[:, None]
    t = low + (high - low) * (node + 1) / 2
    cosine = 1 + 2 * alpha[:, None] - np.exp(t)
    density = 2 * (alpha * (1 + alpha))[:, None] * np.exp(-t) * (high - low) * weight / 2
    losses: np.ndarray = (density[..., None] * (1 - legvander(np.clip(cosine, -1, 1), order))).sum(1)
    return losses
