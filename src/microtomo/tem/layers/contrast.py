"""Bright-field contrast of metal, overcoat and cap: grains, lattice fringes, fuzzy edges, Fresnel fringe.

The exit wave's amplitude is the root of the transmitted intensity, its phase grows with the absorbed mass thickness;
defocus propagates it (Fresnel), so that every edge gets the fringe of its own strength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree

from microtomo.tem.layers.geometry import Layer
from microtomo.tem.layers.random_fields import field, log_uniform

_MARGIN = 16  # pixels around the image that keep what wraps around out of it
_WAVELENGTH_NM = 2.508e-3  # at 200 kV


@dataclass(frozen=True)
class Date:
    """One composition set: grey levels (transmission, 0..1) of its overcoat, its seed layer, its cap's grain."""

    overcoat: tuple[float, float]
    seed_share: tuple[float, float]
    seed_depth: float
    cap: tuple[float, float]
    cap_grain_nm: tuple[float, float]


DATES = (
    # dense carbon under sputtered chromium; hydrogenated carbon under fine platinum; carbon on a silicon seed
    Date((0.72, 0.9), (0.0, 0.0), 0.0, (0.3, 0.5), (1.5, 4.0)),
    Date((0.82, 0.98), (0.0, 0.0), 0.0, (0.2, 0.38), (0.8, 2.0)),
    Date((0.66, 0.86), (0.2, 0.35), 0.3, (0.35, 0.55), (1.0, 3.0)),
)


@dataclass(frozen=True)
class Recipe:
    """Everything that the noise-free contrast of one image is made from; lengths in pixels, ``pixel_nm`` apart.

    ``levels``: transmission of metal, overcoat and cap; ``swing``: deviation of the metal's grains; ``seed``: share
    of the layer's thickness on the metal's side that is darker by ``seed_depth``; ``phase``: rad per unit of
    absorption; ``defocus_nm`` (negative: overfocus); ``spread_nm``: deviation of the defocus.
    """

    pixel_nm: float
    levels: tuple[float, float, float]
    fuzziness: tuple[float, float]
    grain: float
    swing: float
    cap_grain: float
    fringe: float
    speckle: float
    seed: float
    seed_depth: float
    phase: float
    defocus_nm: float
    spread_nm: float
    metal_left: bool

    @classmethod
    def draw(cls, date: int, pixel_nm: float, fuzziness_nm: float, rng: np.random.Generator) -> Recipe:
        """A recipe of one date."""
        of = DATES[date]
        metal, bright, cap = rng.uniform(0.15, 0.38), rng.uniform(*of.overcoat), rng.uniform(*of.cap)
        fuzzy = fuzziness_nm / pixel_nm * rng.uniform(0.7, 1.3, 2)
        return cls(
            pixel_nm,
            (metal, bright, cap),
            (float(fuzzy[0]), float(fuzzy[1])),
            log_uniform(rng, (3.0, 9.0)) / pixel_nm,
            rng.uniform(0.15, 0.4),
            log_uniform(rng, of.cap_grain_nm) / pixel_nm,
            rng.uniform(0.0, 0.35),
            rng.uniform(0.02, 0.08),
            rng.uniform(*of.seed_share),
            of.seed_depth,
            rng.uniform(0.1, 0.9),
            rng.uniform(10.0, 200.0) * rng.choice((-1, 1)),
            rng.uniform(20.0, 100.0),
            bool(rng.random() < 0.5),
        )


def intensity(
    shape: tuple[int, int], layer: Layer, recipe: Recipe, crossing: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise-free intensity (y, x), float32, relative to the beam; with the probability of an extra crossing layer."""
    low, high = layer.distances(shape, _MARGIN)
    sides = (_metal(low.shape, recipe, rng), _cap(low.shape, recipe, rng))
    if rng.random() < crossing:
        sides = _crossed(sides, recipe, rng)
    left, right = sides if recipe.metal_left else sides[::-1]
    from_metal, fuzzy = (low, recipe.fuzziness) if recipe.metal_left else (high, recipe.fuzziness[::-1])
    bright = np.full(low.shape, recipe.levels[1], dtype=np.float32)
    if recipe.seed:
        depth = recipe.seed * float(np.mean(layer.high - layer.low))
        bright *= 1 - recipe.seed_depth * _step(depth - from_metal, max(recipe.fuzziness))
    grain = field(low.shape, 0.12 / recipe.pixel_nm + 0.5, rng)
    bright *= 1 + np.float32(recipe.speckle) * grain
    inside_low, inside_high = _step(low, fuzzy[0]), _step(high, fuzzy[1])
    mixed = left * (1 - inside_low) + right * (1 - inside_high) + bright * (inside_low + inside_high - 1)
    waved = _propagated(np.clip(mixed, 0.02, 1.2), recipe)
    return waved[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _step(distance: np.ndarray, width: float) -> np.ndarray:
    """A smooth step from 0 to 1 that has the slope of an error function of deviation ``width`` at half its height."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance * np.float32(0.7979 / max(width, 0.2))), dtype=np.float32)


def _grains(shape: tuple[int, int], size_px: float, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Numbers (y, x) of the grains that the pixels lie in, and how many grains there are."""
    count = max(4, int(np.ceil(shape[0] * shape[1] / size_px**2)))
    tree = cKDTree(rng.uniform(-0.05, 1.05, (count, 2)) * shape)
    coarse = 2 if size_px > 8 else 1
    y, x = np.mgrid[0 : shape[0] : coarse, 0 : shape[1] : coarse]
    _, nearest = tree.query(np.stack([y.ravel(), x.ravel()], 1))
    which = nearest.reshape(y.shape)
    return np.asarray(which.repeat(coarse, 0).repeat(coarse, 1)[: shape[0], : shape[1]]), count


def _metal(shape: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Granular metal: a level a grain (diffraction contrast), lattice fringes in some of them."""
    which, count = _grains(shape, recipe.grain, rng)
    levels = recipe.levels[0] * np.exp(recipe.swing * rng.standard_normal(count)).astype(np.float32)
    image = levels[which]
    spacing = rng.uniform(0.19, 0.23) / recipe.pixel_nm
    if spacing > 2.2:
        turn, strength = rng.uniform(0, np.pi, count), recipe.fringe * (rng.random(count) < 0.35)
        y, x = (np.arange(n, dtype=np.float32) for n in shape)
        k = 2 * np.pi / spacing
        ky, kx = (k * np.sin(turn)).astype(np.float32), (k * np.cos(turn)).astype(np.float32)
        image = image * (1 + strength.astype(np.float32)[which] * np.sin(ky[which] * y[:, None] + kx[which] * x))
    bend = 1 + 0.12 * field(shape, 3.0 / recipe.pixel_nm, rng)
    return np.asarray(image * bend * (1 + 0.06 * field(shape, 0.15 / recipe.pixel_nm + 0.4, rng)))


def _cap(shape: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """The capping layer: fine grain on a slow drift."""
    fine = 0.18 * field(shape, recipe.cap_grain / 2, rng) + 0.08 * field(shape, 0.15 / recipe.pixel_nm + 0.4, rng)
    return np.asarray(recipe.levels[2] * np.exp(fine + 0.1 * field(shape, 6.0 / recipe.pixel_nm, rng)))


def _crossed(
    sides: tuple[np.ndarray, np.ndarray], recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Metal and cap with an extra bright layer across, roughly level, in one or both of them."""
    shape = sides[0].shape
    wide, slope = rng.uniform(1.5, 8.0) / recipe.pixel_nm, np.tan(rng.uniform(-0.3, 0.3))
    y, x = (np.arange(n, dtype=np.float32) for n in shape)
    distance = np.abs(y[:, None] - shape[0] * rng.uniform(0.1, 0.9) - np.float32(slope) * (x - 0.5 * shape[1]))
    distance = distance + 0.4 / recipe.pixel_nm * field(shape, 2.0 / recipe.pixel_nm, rng)
    share = _step(0.5 * wide - distance, max(recipe.fuzziness)) * np.float32(rng.uniform(0.35, 0.9))
    where = rng.integers(3)
    return (
        sides[0] + (recipe.levels[1] - sides[0]) * share if where != 1 else sides[0],
        sides[1] + (recipe.levels[1] - sides[1]) * share if where != 0 else sides[1],
    )


def _propagated(transmitted: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Intensity of the exit wave after defocus: exp(-i pi wavelength C1 q^2), damped by the spread of the defocus."""
    phase = np.float32(-recipe.phase) * np.log(transmitted)
    amplitude = np.sqrt(transmitted)
    wave = np.empty(phase.shape, dtype=np.complex64)
    wave.real, wave.imag = amplitude * np.cos(phase), amplitude * np.sin(phase)
    qy, qx = (fft.fftfreq(n, recipe.pixel_nm).astype(np.float32) for n in wave.shape)
    q2 = np.pi * _WAVELENGTH_NM * (qy[:, None] ** 2 + qx**2)
    damping, chi = np.exp(-0.5 * (recipe.spread_nm * q2) ** 2), recipe.defocus_nm * q2
    transfer = np.empty_like(wave)
    transfer.real, transfer.imag = damping * np.cos(chi), -damping * np.sin(chi)
    seen = fft.ifft2(fft.fft2(wave) * transfer)
    return np.asarray(seen.real**2 + seen.imag**2)
