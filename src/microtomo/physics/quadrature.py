"""Grids in energy and direction on which transport is solved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike
from scipy.special import roots_jacobi

from microtomo.physics.cross_sections import LOWEST_KEV

_STAGES = 3  # of the collocation: order 5


def gauss_radau(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (0, 1], increasing, the last one 1, and weights: exact for polynomials up to degree 2 count - 2."""
    free, weights = roots_jacobi(count - 1, 1, 0)  # weight function 1 - x, as the node at 1 takes a factor away
    nodes = np.append(free, 1.0)
    return (nodes + 1) / 2, np.append(weights / (1 - free), 2 / count**2) / 2


def lagrange(nodes: np.ndarray, at: ArrayLike, derivative: int = 0) -> np.ndarray:
    """Values (or derivatives) at points of the Lagrange polynomials of nodes in [0, 1]: (points, nodes)."""
    degree = len(nodes) - 1
    coefficients: np.ndarray = np.linalg.inv(legendre.legvander(2 * nodes - 1, degree))
    if derivative:
        coefficients = legendre.legder(coefficients, derivative, scl=2)
    points = 2 * np.atleast_1d(np.asarray(at, dtype=float)) - 1
    return np.asarray(legendre.legvander(points, len(coefficients) - 1) @ coefficients)


@dataclass(frozen=True)
class PhaseSpace:
    """Nodes in energy (g,) and direction (a,) of a hemisphere; a vector of phi is flattened as (g, a).

    Energy: 3-stage Radau-IIA collocation (Hairer & Wanner, Solving ODEs II, IV.5) on ``intervals`` intervals even in
    E^``power`` from 50 eV, where phi is 0, to ``highest_kev``. Direction: Gauss-Radau with normal incidence among the
    nodes. ``fokker_planck`` says what becomes of scattering more forward-peaked than the nodes resolve: small steps in
    angle, for exit angles without ripples, or no deflection.
    """

    highest_kev: float
    intervals: int
    angles: int
    fokker_planck: bool = False
    power: float = 0.4

    @cached_property
    def edges(self) -> np.ndarray:
        """Borders of the intervals in x = E^power: (intervals + 1,)."""
        return np.linspace(LOWEST_KEV**self.power, self.highest_kev**self.power, self.intervals + 1)

    @cached_property
    def energies(self) -> np.ndarray:
        """Energies of the nodes, increasing: (g,) [keV]."""
        stages = gauss_radau(_STAGES)[0]
        x = self.edges[:-1, None] + np.diff(self.edges)[:, None] * stages
        return np.asarray(x.ravel() ** (1 / self.power))

    @cached_property
    def derivative(self) -> np.ndarray:
        """d/dE on the nodes: (g, g) [1/keV], lower triangular by blocks; phi at 50 eV is 0."""
        stages = gauss_radau(_STAGES)[0]
        local = lagrange(np.append(0.0, stages), stages, derivative=1)
        count = self.intervals * _STAGES
        d = np.zeros((count, count))
        for k, width in enumerate(np.diff(self.edges)):
            block = slice(k * _STAGES, (k + 1) * _STAGES)
            d[block, block] = local[:, 1:] / width
            if k:
                d[block, k * _STAGES - 1] = local[:, 0] / width
        return np.asarray(self.power * self.energies[:, None] ** (self.power - 1) * d)

    @cached_property
    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Direction cosines (a,), increasing to 1, and their weights (a,)."""
        return gauss_radau(self.angles)

    @cached_property
    def angular_diffusion(self) -> np.ndarray:
        """d/dmu (1 - mu^2) d/dmu on the nodes mu, then -mu: (2a, 2a); conserves electrons and their mean direction
        (Morel, Nucl. Sci. Eng. 89 (1985) 131)."""
        mu, weights = self.directions
        order = np.concatenate([np.arange(len(mu))[::-1], np.arange(len(mu)) + len(mu)])
        m, w = np.concatenate([mu, -mu])[order], np.concatenate([weights, weights])[order]
        result = np.zeros((len(m), len(m)))
        flow = np.cumsum(2 * m * w)[:-1] / (m[:-1] - m[1:])  # across the border of two neighbours
        for i, f in enumerate(flow):
            here, there = order[i], order[i + 1]
            result[here, [here, there]] += np.array([-f, f]) / w[i]
            result[there, [here, there]] += np.array([f, -f]) / w[i + 1]
        return result

    @property
    def size(self) -> int:
        """Length of a vector of phi."""
        return len(self.energies) * self.angles

    def evaluation(self, energies_kev: ArrayLike, cosine: float = 1.0) -> np.ndarray:
        """Rows that give phi at these energies and a direction cosine in (0, 1]: (e, g a)."""
        rows = self.between_energies(energies_kev)
        across = lagrange(self.directions[0], cosine)[0]
        return np.asarray((rows[:, :, None] * across).reshape(len(rows), -1))

    @property
    def mean_over_cosine(self) -> np.ndarray:
        """Weights (a,) of the mean over directions with a probability by their cosine."""
        mu, weights = self.directions
        return np.asarray(2 * mu * weights)

    def between_energies(self, energies_kev: ArrayLike) -> np.ndarray:
        """Rows that give at these energies what is known at the nodes: (e, g)."""
        stages = np.append(0.0, gauss_radau(_STAGES)[0])
        x = np.atleast_1d(np.asarray(energies_kev, dtype=float)) ** self.power
        width = self.edges[1] - self.edges[0]
        interval = np.clip(((x - self.edges[0]) / width).astype(int), 0, self.intervals - 1)
        values = lagrange(stages, (x - self.edges[interval]) / width)
        rows = np.zeros((len(x), 1 + len(self.energies)))
        np.put_along_axis(rows, interval[:, None] * _STAGES + np.arange(_STAGES + 1), values, axis=1)
        return rows[:, 1:]
