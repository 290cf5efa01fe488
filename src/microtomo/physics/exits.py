"""Electrons that left a sample, and what detectors add up of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detector:
    """What a detector adds up for an electron that leaves.

    ``threshold_kev`` None: every electron counts 1. Else it counts 0 up to the threshold and E - threshold [keV]
    above. Only exit angles to the surface normal within ``annulus_deg`` count.
    """

    threshold_kev: float | None = None
    annulus_deg: tuple[float, float] = (0.0, 90.0)

    def weight(self, energy_kev: np.ndarray, cosine: np.ndarray) -> np.ndarray:
        """Weights of electrons by exit energy [keV] and cosine of the exit angle."""
        low, high = self.annulus_deg
        collected = (cosine <= math.cos(math.radians(low))) & (cosine >= math.cos(math.radians(high)) - 1e-12)
        linear = 1.0 if self.threshold_kev is None else np.maximum(energy_kev - self.threshold_kev, 0)
        return np.asarray(collected * linear, dtype=np.float64)


EVERY_ELECTRON = Detector()
"""Counts every electron that leaves: its signal is the backscatter coefficient."""


@dataclass(frozen=True)
class Exits:
    """Electrons that left through the surface, in the order of their numbers; each array is (exit,).

    ``x_nm``, ``y_nm`` count from the beam's axis. ``deepest`` is the deepest film an electron entered, 0 the topmost,
    the number of films for the substrate; ``x_in_nm``, ``y_in_nm`` are where it first came into that film.
    ``reached`` (film,) counts all electrons, also those that stayed, by their deepest film.
    """

    beam_kev: float
    electrons: int
    energy_kev: np.ndarray
    cosine: np.ndarray
    x_nm: np.ndarray
    y_nm: np.ndarray
    deepest: np.ndarray
    x_in_nm: np.ndarray
    y_in_nm: np.ndarray
    reached: np.ndarray

    @property
    def radius_nm(self) -> np.ndarray:
        """Distance between entry and exit [nm]."""
        return np.asarray(np.hypot(self.x_nm, self.y_nm))

    def signal(self, detector: Detector = EVERY_ELECTRON) -> tuple[float, float]:
        """Mean detector weight an incident electron, and its standard error; eta for the default detector."""
        return self._mean(detector.weight(self.energy_kev, self.cosine))

    def signal_by_depth(self) -> np.ndarray:
        """Share of the incident electrons that left and had their deepest point in each film, substrate last."""
        return np.asarray(np.bincount(self.deepest, minlength=self.reached.size) / self.electrons)

    def energy_histogram(self, edges_kev: np.ndarray) -> np.ndarray:
        """d eta per bin of exit energy."""
        return np.asarray(np.histogram(self.energy_kev, edges_kev)[0] / self.electrons)

    def angle_histogram(self, edges_deg: np.ndarray) -> np.ndarray:
        """d eta per bin of the exit angle to the surface normal."""
        return np.asarray(
            np.histogram(np.degrees(np.arccos(np.clip(self.cosine, -1, 1))), edges_deg)[0] / self.electrons
        )

    def radius_energy_histogram(self, radius_edges_nm: np.ndarray, energy_edges_kev: np.ndarray) -> np.ndarray:
        """d eta per joint bin of exit radius and exit energy, (radius, energy)."""
        counts = np.histogram2d(self.radius_nm, self.energy_kev, (radius_edges_nm, energy_edges_kev))[0]
        return np.asarray(counts / self.electrons)

    def _mean(self, weight: np.ndarray) -> tuple[float, float]:
        mean = float(weight.sum()) / self.electrons
        square = float((weight**2).sum()) / self.electrons
        return mean, math.sqrt(max(square - mean**2, 0.0) / self.electrons)
