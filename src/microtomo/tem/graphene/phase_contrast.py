"""Weak-phase imaging of carbon in the transmission electron microscope: scattering, transfer, dose, detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PLANCK, ELECTRON, CHARGE, LIGHT = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0

_CARBON = ((0.7307, 36.9951), (1.1951, 11.2966), (0.4563, 2.8139), (0.1247, 0.3456))
"""Amplitudes [A] and widths [A^2] of the electron scattering factor (Doyle & Turner, Acta Cryst. A24 (1968) 390)."""


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic wavelength of electrons [nm]: 0.00418 at 80 keV."""
    volts = energy_kev * 1e3 * CHARGE
    return 1e9 * PLANCK / float(np.sqrt(2 * ELECTRON * volts * (1 + volts / (2 * ELECTRON * LIGHT**2))))


def scattering_nm(q: np.ndarray) -> np.ndarray:
    """Electron scattering factor of carbon [nm] at spatial frequencies ``q`` [1/nm], any shape."""
    s = np.asarray(q) * 0.05  # sin(theta)/wavelength [1/A]
    return np.asarray(0.1 * sum(a * np.exp(-b * s**2) for a, b in _CARBON))


def phase_per_atom(q: np.ndarray, energy_kev: float = 80.0, debye_waller_nm2: float = 0.005) -> np.ndarray:
    """Fourier transform of the phase [rad nm^2] that one carbon atom adds: gamma lambda f(q) exp(-B q^2 / 4).

    The interaction constant times the projected potential is gamma lambda f in the first Born approximation.
    """
    gamma = 1 + energy_kev * 1e3 * CHARGE / (ELECTRON * LIGHT**2)
    return gamma * wavelength_nm(energy_kev) * scattering_nm(q) * np.exp(-debye_waller_nm2 * np.asarray(q) ** 2 / 4)


@dataclass(frozen=True)
class Optics:
    """The lens: defocus [nm] (positive: underfocus, dark atoms), twofold astigmatism [nm] with its azimuth [rad],
    spherical aberration [um], focal spread [nm] (standard deviation), beam energy [keV]."""

    defocus_nm: float
    astigmatism_nm: float = 0.0
    azimuth: float = 0.0
    spherical_um: float = 0.0
    focal_spread_nm: float = 1.5
    energy_kev: float = 80.0

    def aberration(self, qy: np.ndarray, qx: np.ndarray) -> np.ndarray:
        """Phase chi [rad] at frequencies [1/nm]: pi lambda^3 Cs q^4 / 2 - pi lambda q^2 (C1 + A1 cos 2 theta)."""
        wavelength, q2 = wavelength_nm(self.energy_kev), qy**2 + qx**2
        # q^2 cos 2(theta - azimuth), without the angle
        twofold = (qx**2 - qy**2) * np.cos(2 * self.azimuth) + 2 * qx * qy * np.sin(2 * self.azimuth)
        return np.asarray(
            0.5 * np.pi * wavelength**3 * 1e3 * self.spherical_um * q2**2
            - np.pi * wavelength * (self.defocus_nm * q2 + self.astigmatism_nm * twofold)
        )

    def transfer(self, qy: np.ndarray, qx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contrast transfer 2 sin(chi) times the envelope of the focal spread, and its derivative by defocus [1/nm].

        The intensity is 1 + F^-1{transfer * F{phase}} for a weak phase object (phase well below 1 rad).
        """
        wavelength, q2 = wavelength_nm(self.energy_kev), qy**2 + qx**2
        chi = self.aberration(qy, qx)
        envelope = 2 * np.exp(-0.5 * (np.pi * wavelength * self.focal_spread_nm * q2) ** 2)
        return envelope * np.sin(chi), envelope * np.cos(chi) * (-np.pi * wavelength * q2)


def expose(intensity: np.ndarray, electrons_per_pixel: float, blur_px: float, rng: np.random.Generator) -> np.ndarray:
    """Counts (y, x), float32, of a detector with a Gaussian point spread [px] after Poisson statistics.

    ``intensity`` (y, x) is relative to the mean beam. The blur comes after the noise, as in a scintillator, so that
    the noise is blurred with the signal.
    """
    from scipy.ndimage import gaussian_filter

    counts = rng.poisson(np.maximum(intensity, 0) * electrons_per_pixel).astype(np.float32)
    return counts if blur_px == 0 else np.asarray(gaussian_filter(counts, blur_px, mode="mirror"))
