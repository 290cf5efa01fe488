"""Reflection and transmission of layers by adding and doubling, adjoint form.

phi(z, mu, E), the expected signal of an electron at depth z with direction cosine mu (positive: into the sample) and
energy E, obeys

    mu dphi/dz = S(E) dphi/dE + Q phi

with stopping power S and elastic scattering Q, averaged over the azimuth. On a :class:`PhaseSpace` and with phi+, phi-
for mu > 0 and mu < 0 that is dphi+/dz = A phi+ - B phi-, dphi-/dz = B phi+ - A phi-. A slab maps what enters its two
faces from outside to what leaves: phi+(top) = R phi-(top) + T phi+(bottom), the same seen from the bottom.
Matrices are lower triangular by energy, since electrons only lose energy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.polynomial.legendre import legvander

from microtomo.materials import Material
from microtomo.physics.browning import browning_moments
from microtomo.physics.cross_sections import stopping_power, transport_moments
from microtomo.physics.quadrature import PhaseSpace

BLOCKS = 10
"""Blocks in energy of the triangular matrices; the intervals of a phase space are a multiple."""

Elastic = Literal["mott and inelastic", "mott", "browning"]
"""Elastic cross-sections: tabulated Mott ones times (Z + 1)/Z, plain, or Browning's family."""

ELASTIC: tuple[Elastic, ...] = get_args(Elastic)

MOTT: Elastic = "mott and inelastic"
"""What fits measured backscatter coefficients best."""

_START_NM = 0.02  # thickest slab that the Cayley step may begin with, at the density of gold
_START_DENSITY = 19.3  # g/cm3, gold
_HALF_SPACE_START_NM = 20.0  # any value: doubling converges to the same limit
_OPAQUE = 1e-10  # transmission below which a slab is a half-space
_MOST_DOUBLINGS = 60  # that stop where a slab never becomes opaque


class Operators(NamedTuple):
    """A and B of a material, each (n, n) [1/nm]."""

    a: np.ndarray
    b: np.ndarray


class Slab(NamedTuple):
    """Reflection and transmission matrix of a homogeneous slab, each (n, n)."""

    reflection: np.ndarray
    transmission: np.ndarray


def _scattering(material: Material, space: PhaseSpace, elastic: Elastic) -> tuple[np.ndarray, np.ndarray]:
    """Q between directions of one hemisphere, and to the other, by energy: each (g, a, a) [1/nm].

    The Legendre moments up to l = 2a - 1 are kept. Beyond them the forward peak is no deflection (delta-M, Wiscombe,
    J. Atmos. Sci. 34 (1977) 1408) or continues the last two moments as diffusion in angle.
    """
    mu, weights = space.directions
    count, order = len(mu), 2 * len(mu) - 1
    if elastic == "browning":
        sigma = browning_moments(material, space.energies, order)
    else:
        sigma = transport_moments(material, space.energies, order, elastic == "mott and inelastic")
    sigma[:, 0] = 0
    diffusion = np.zeros((len(sigma), 1, 1))
    if space.fokker_planck:
        diffusion[:, 0, 0] = np.maximum(sigma[:, order] - sigma[:, order - 1], 0) / (2 * order)
    degree = np.arange(order + 1)
    peak = sigma[:, order:] - diffusion[:, 0] * order * (order + 1)
    gain = ((peak + diffusion[:, 0] * degree * (degree + 1) - sigma) * (degree + 0.5))[:, :order]
    legendre = legvander(mu, order - 1)
    same = -np.einsum("il,gl,jl->gij", legendre, gain, legendre) * weights
    across = -np.einsum("il,gl,jl->gij", legendre, gain * (-1.0) ** degree[:order], legendre) * weights
    same -= diffusion * space.angular_diffusion[:count, :count]
    across -= diffusion * space.angular_diffusion[:count, count:]
    same[:, np.arange(count), np.arange(count)] += peak
    return same, across


@lru_cache(maxsize=8)
def operators(material: Material, space: PhaseSpace, elastic: Elastic = MOTT) -> Operators:
    """Scattering and slowing down of a material."""
    mu = space.directions[0]
    count, nodes = len(mu), len(space.energies)
    same, across = _scattering(material, space, elastic)
    slowing = stopping_power(material, space.energies)[:, None] * space.derivative
    a, b = np.zeros((2, nodes, count, nodes, count))
    each = np.arange(nodes)
    for i in range(count):
        a[:, i, :, i] = slowing / mu[i]
    a[each, :, each, :] += same / mu[:, None]
    b[each, :, each, :] = -across / mu[:, None]
    return Operators(a.reshape(space.size, space.size), b.reshape(space.size, space.size))


def _blocks(size: int) -> list[tuple[int, int]]:
    step = size // BLOCKS
    return [(start, start + step) for start in range(0, size, step)]


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left @ right for matrices that are lower triangular by energy: 2.6 times fewer operations."""
    result = np.zeros_like(left)
    for start, end in _blocks(len(left)):
        np.matmul(left[start:end, :end], right[:end, :end], out=result[start:end, :end])
    return result


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(1 - matrix)^-1 right for matrices that are lower triangular by energy, block by block."""
    result = np.zeros_like(right)
    for start, end in _blocks(len(matrix)):
        known = right[start:end, :end] + matrix[start:end, :start] @ result[:start, :end]
        diagonal = np.eye(end - start) - matrix[start:end, start:end]
        result[start:end, :end] = np.linalg.solve(diagonal, known)
    return result


def _cayley(material: Operators, thickness_nm: float) -> Slab:
    """A slab by the trapezoidal rule in depth: second order, stable for any thickness, conserves electrons."""
    half = thickness_nm / 2
    plus = -half * (material.a - material.b)
    minus = -half * (material.a + material.b)
    one = np.eye(len(plus))
    p, m = solve(plus, one + plus), solve(minus, one + minus)
    return Slab((p - m) / 2, (p + m) / 2)


def add(upper: Slab, lower: Slab) -> Slab:
    """Two slabs of one material, one on the other; in whichever order, since they commute."""
    shared = solve(product(upper.reflection, lower.reflection), upper.transmission)
    reflected = product(upper.transmission, product(lower.reflection, shared))
    return Slab(upper.reflection + reflected, product(lower.transmission, shared))


def add_below(upper: Slab, reflection: np.ndarray) -> np.ndarray:
    """Reflection of a slab on top of something that only reflects."""
    shared = solve(product(upper.reflection, reflection), upper.transmission)
    return np.asarray(upper.reflection + product(upper.transmission, product(reflection, shared)))


def slab(material: Operators, thickness_nm: float, density_g_cm3: float) -> Slab:
    """A slab of a given thickness by doubling."""
    start = _START_NM * _START_DENSITY / density_g_cm3
    doublings = max(0, int(np.ceil(np.log2(thickness_nm / start))))
    result = _cayley(material, thickness_nm / 2**doublings)
    for _ in range(doublings):
        result = add(result, result)
    return result


def half_space(material: Operators, density_g_cm3: float) -> np.ndarray:
    """Reflection of an infinitely thick slab; doubling reaches the limit of the exact equation from any start."""
    result = _cayley(material, _HALF_SPACE_START_NM / density_g_cm3)
    for _ in range(_MOST_DOUBLINGS):
        if np.abs(result.transmission).max() < _OPAQUE:
            break
        result = add(result, result)
    return result.reflection


def change_with_thickness(material: Operators, reflection: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(dR/dd) phi- for R of a stack whose upper layer grows: R' = B - A R - R A + R B R (Riccati); phi- (n, ...)."""
    up = reflection @ down
    return np.asarray(material.b @ down - material.a @ up + reflection @ (material.b @ up - material.a @ down))
