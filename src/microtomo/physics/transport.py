"""Backscattering from a stack of layers by deterministic transport (see :mod:`microtomo.physics.slabs`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from microtomo.errors import MicrotomoError
from microtomo.materials import Material, find_material
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.cross_sections import HIGHEST_KEV
from microtomo.physics.quadrature import PhaseSpace
from microtomo.physics.slabs import MOTT, Elastic, Slab, add_below, change_with_thickness, half_space, operators, slab

Layers: TypeAlias = Sequence[tuple[str | Material, float | None]]
"""Material (or the name of a known one) and thickness [nm], top to bottom; the last one is the substrate, None."""

_MOST_LAYERS = 4  # as of a stack
_THICKEST_NM = 1e6  # 1 mm: beyond the range of electrons in any solid at 50 keV

_ANNULAR_ANGLES = 10  # annuli 10 to 20 degrees wide are then within 0.5 % of 16 directions
_FINER_BELOW_KEV, _FINER = 4.0, 1.5  # with 20 intervals up to 35 keV, eta at 1.5 keV is 0.7 % off, with 30 0.1 %

LOWEST_BEAM_KEV = 0.5
"""Lowest beam energy: Mott cross-sections of free atoms and Joy and Luo's stopping power mean little below."""

ETA = BackscatterDetector()
"""The backscatter coefficient: every electron above 50 eV counts."""


@dataclass(frozen=True)
class Settings:
    """Resolution of the solution: intervals in energy (a multiple of 20), directions a hemisphere; and the physics.

    With 20 and 8 eta is within 0.1 %, and signal over bare substrate within 0.05 %, of 40 and 14 at 5 to 35 keV
    (``python benchmarks/physics.py convergence``). Below 4 keV the intervals become half as many again.
    ``elastic``: tabulated Mott cross-sections, by default times (Z + 1)/Z for the deflection in inelastic collisions,
    which lowers the mean deviation from measured backscatter coefficients; or Browning's family. Their differences
    are a measure of what the physics does not know.
    """

    intervals: int = 20
    angles: int = 8
    elastic: Elastic = MOTT

    def __post_init__(self) -> None:
        if self.intervals < 20 or self.intervals % 20 or not 2 <= self.angles <= 16:
            raise MicrotomoError("transport settings: use a multiple of 20 intervals and 2 to 16 angles")


def backscatter_coefficient(
    layers: Layers, energies_kev: ArrayLike, *, detector: BackscatterDetector = ETA, settings: Settings | None = None
) -> np.ndarray:
    """Signal a beam electron of a stack: with the default detector the backscatter coefficient eta.

    Parameters
    ----------
    layers
        Top to bottom, for example ``[("Al", 50.0), ("SiO2", 100.0), ("Si", None)]``: material and thickness [nm], up
        to four layers on a substrate without thickness. Layers may be 0 nm or thicker than any electron's range.
    energies_kev
        Beam energies, 0.5 to 50 keV, in any order.
    detector
        What is detected; ``energy`` gives keV a beam electron.

    Returns
    -------
    (e,) float64.

    Raises
    ------
    MicrotomoError
        For an unknown material, one without known composition, impossible thicknesses or energies.
    """
    return signal_and_slopes(layers, energies_kev, detector=detector, settings=settings, slopes=False)[0]


def signal_and_slopes(
    layers: Layers,
    energies_kev: ArrayLike,
    *,
    detector: BackscatterDetector = ETA,
    settings: Settings | None = None,
    slopes: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Signal (e,) as :func:`backscatter_coefficient`, and its derivative by each thickness (l, e) [1/nm], top to
    bottom, exact for the discretised equation: slopes of a reflection are its Riccati equation, carried to the surface.

    Without ``slopes`` the second array is (0, e). Raises the same errors.
    """
    settings = settings or Settings()
    materials, thickness = checked_layers(layers)
    energies = checked_energies(energies_kev)
    space = phase_space(energies, settings, detector)
    with threadpool_limits(1, "blas"):
        media = [operators(m, space, settings.elastic) for m in materials]
        slabs = [slab(o, d, m.density_g_cm3) for o, d, m in zip(media, thickness, materials, strict=False) if d > 0]
        present = [k for k, d in enumerate(thickness) if d > 0]
        below = [_substrate(materials[-1], space, settings.elastic)]
        for upper in reversed(slabs):
            below.insert(0, add_below(upper, below[0]))
        down = detector.weights(space)
        rows = space.evaluation(energies, detector.cosine)
        signal = rows @ (below[0] @ down)
        if not slopes:
            return signal, np.empty((0, len(energies)))
        result = np.empty((len(thickness), len(energies)))
        at = 0
        for k in range(len(thickness)):
            result[k] = rows @ change_with_thickness(media[k], below[at], down)
            if k in present:
                rows, down = into(slabs[at], below[at + 1], rows, down)
                at += 1
    return signal, result


def checked_layers(layers: Layers) -> tuple[list[Material], list[float]]:
    """Materials, top to bottom with the substrate, and the thicknesses of the layers [nm].

    Raises MicrotomoError as :func:`backscatter_coefficient`.
    """
    if not 1 <= len(layers) <= _MOST_LAYERS + 1:
        raise MicrotomoError(f"{len(layers)} materials given: use 0 to {_MOST_LAYERS} layers and a substrate")
    materials = [find_material(m) if isinstance(m, str) else m for m, _ in layers]
    for material in materials:
        _ = material.atoms  # says which material has none
    *thickness, last = (d for _, d in layers)
    if last is not None:
        raise MicrotomoError(f"{materials[-1].symbol} is the lowest, so the substrate: give it the thickness None")
    for material, d in zip(materials, thickness, strict=False):
        if d is None or not 0 <= d <= _THICKEST_NM:
            raise MicrotomoError(f"layer {material.symbol} is {d} nm thick: give 0 to {_THICKEST_NM:g} nm")
    return materials, [float(d) for d in thickness if d is not None]


def checked_energies(energies_kev: ArrayLike) -> np.ndarray:
    """Beam energies (e,) [keV] that transport covers. Raises MicrotomoError for others."""
    energies = np.atleast_1d(np.asarray(energies_kev, dtype=float))
    if energies.ndim != 1 or not energies.size or not np.isfinite(energies).all():
        raise MicrotomoError("beam energies must be a row of finite numbers in keV")
    if energies.min() < LOWEST_BEAM_KEV or energies.max() > HIGHEST_KEV:
        raise MicrotomoError(
            f"beam energies {energies.min():g}..{energies.max():g} keV: transport covers {LOWEST_BEAM_KEV:g} to "
            f"{HIGHEST_KEV:g} keV (the analytic model goes on to 100 keV)"
        )
    return energies


def phase_space(energies_kev: np.ndarray, settings: Settings, detector: BackscatterDetector) -> PhaseSpace:
    """The grid for these beam energies: it ends at the highest of them, and is finer where the lowest is low and
    where exit angles matter."""
    finer = _FINER if energies_kev.min() < _FINER_BELOW_KEV else 1.0
    angles = max(settings.angles, _ANNULAR_ANGLES) if detector.annular else settings.angles
    return PhaseSpace(float(energies_kev.max()), round(settings.intervals * finer), angles, detector.annular)


@lru_cache(maxsize=8)
def _substrate(material: Material, space: PhaseSpace, elastic: Elastic) -> np.ndarray:
    return half_space(operators(material, space, elastic), material.density_g_cm3)


def into(upper: Slab, reflection: np.ndarray, rows: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Through a slab to the face below it, which reflects: what rows (e, n) of the upper face mean there, and phi-."""
    down_below = np.linalg.solve(np.eye(len(down)) - upper.reflection @ reflection, upper.transmission @ down)
    shared = np.eye(len(down)) - reflection @ upper.reflection
    return np.linalg.solve(shared.T, (rows @ upper.transmission).T).T, down_below
