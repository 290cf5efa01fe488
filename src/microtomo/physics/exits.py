"""Electrons that left a sample, and what detectors add up of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from microtomo.physics.backscatter_detector import BackscatterDetector

EVERY_ELECTRON = BackscatterDetector()
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

    def signal(self, detector: BackscatterDetector = EVERY_ELECTRON) -> tuple[float, float]:
        """Mean detector weight an incident electron, and its standard error; eta for the default detector."""
        return self._mean(detector.weight_of(self.energy_kev, self.cosine))

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
