"""What a backscatter detector makes of an electron that leaves the sample."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.polynomial.legendre import leggauss

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.physics.quadrature import PhaseSpace, lagrange

_STEEPEST_TILT_DEG = 75.0
_SLOPES = (0.2, 3.0)  # from far below to far above what detectors do; a slope of 0 would be a jump at the threshold


@dataclass(frozen=True)
class BackscatterDetector:
    """Response to an electron by its exit energy and exit angle.

    Parameters
    ----------
    response
        ``counts``: each electron counts 1 (with all angles: the backscatter coefficient eta). ``energy``: an electron
        counts E - threshold [keV], none below the threshold, as semiconductor detectors do.
    threshold_kev
        For ``energy``: where the response begins [keV], 0..20.
    slope
        For ``energy``: an electron counts (E - threshold)^slope, 0.2..3; 1 is a linear detector.
    exit_angles_deg
        Range of angles to the surface normal that the detector sees, 0..90: an annulus about the normal.
    tilt_deg
        Angle of the beam to the surface normal, 0..75.

    The solution is averaged over the azimuth about the surface normal. Of a laterally uniform sample and a detector
    that is symmetric about the normal that is exact, also under tilt. A detector that stays on the beam axis while
    the sample tilts is not symmetric about the normal: only its total over all exit angles can be had.

    Raises MicrotomoError for values outside these ranges.
    """

    response: str = "counts"
    threshold_kev: float = 0.0
    exit_angles_deg: tuple[float, float] = (0.0, 90.0)
    tilt_deg: float = 0.0
    slope: float = 1.0

    def __post_init__(self) -> None:
        if self.response not in ("counts", "energy"):
            raise MicrotomoError(f"detector response {self.response!r}: use counts or energy")
        if not 0 <= self.threshold_kev <= 20:
            raise MicrotomoError(f"detector threshold {self.threshold_kev:g} keV: use 0 to 20 keV")
        if not _SLOPES[0] <= self.slope <= _SLOPES[1]:
            raise MicrotomoError(f"detector slope {self.slope:g}: use {_SLOPES[0]:g} to {_SLOPES[1]:g}, 1 is linear")
        if (self.threshold_kev or self.slope != 1) and self.response == "counts":
            raise MicrotomoError("a detector with a threshold or a slope weighs energy: set its response to energy")
        least, most = self.exit_angles_deg
        if not 0 <= least < most <= 90:
            raise MicrotomoError(f"exit angles {least:g}..{most:g} degrees: use 0 <= first < second <= 90")
        if not 0 <= self.tilt_deg <= _STEEPEST_TILT_DEG:
            raise MicrotomoError(f"tilt {self.tilt_deg:g} degrees: use 0 to {_STEEPEST_TILT_DEG:g}")

    @classmethod
    def of(cls, stack: Stack) -> BackscatterDetector:
        """The detector that a stack names; without one, all electrons count."""
        if stack.detector is None:
            return cls()
        names = [field.name for field in fields(cls)]
        return cls(**{name: getattr(stack.detector, name) for name in names})

    @property
    def cosine(self) -> float:
        """Direction cosine of the beam."""
        return math.cos(math.radians(self.tilt_deg))

    @property
    def annular(self) -> bool:
        """Whether the detector sees only some of the exit angles."""
        return self.exit_angles_deg != (0.0, 90.0)

    def weight_of(self, energy_kev: np.ndarray, cosine: np.ndarray) -> np.ndarray:
        """What single electrons count, by exit energy [keV] and cosine of the exit angle, arrays of one shape."""
        least, most = self.exit_angles_deg
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        seen = (angle >= least) & ((angle < most) | (most == 90))
        return np.asarray(seen * self._by_energy(energy_kev), dtype=np.float64)

    def _by_energy(self, energy_kev: np.ndarray) -> np.ndarray:
        if self.response == "counts":
            return np.ones_like(energy_kev)
        return np.asarray(np.maximum(energy_kev - self.threshold_kev, 0) ** self.slope)

    def weights(self, space: PhaseSpace) -> np.ndarray:
        """phi- at the surface, the response on the nodes of phase space: (n,).

        An annulus is the integral of the polynomial through the current at the nodes, exact for smooth currents.
        """
        least, most = (math.cos(math.radians(a)) for a in reversed(self.exit_angles_deg))
        mu, weight = space.directions
        x, w = leggauss(len(mu))
        x, w = least + (most - least) * (x + 1) / 2, w * (most - least) / 2
        by_angle = (w * x) @ lagrange(mu, x) / (weight * mu)
        return np.asarray((self._by_energy(space.energies)[:, None] * by_angle).ravel())
