"""Synthetic backscatter cross-sections: an oxide between a porous bright coating and a grey bond coat.

They look like environmental barrier coatings (Stuckner et al., npj Comput. Mater. 8 (2022) 200): pores and cracks in
the oxide, pockets under the coating, a gap over the bond coat, mounting resin instead of either neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.random_fields import field, generator, log_uniform, profile

OXIDE, CRACK = 1, 2
"""Values of the label image; 0 is everything else."""

_SMALLEST_PX = 64


@dataclass(frozen=True)
class CrossSection:
    """A synthetic cross-section: ``image`` (y, x) float32 of grey levels 0..1, ``label`` (y, x) uint8 of 0, OXIDE and
    CRACK, and the mean ``thickness`` of the oxide [px] along the columns times the cosine of its slope."""

    image: np.ndarray
    label: np.ndarray
    thickness: float


def cross_section(seed: int, index: int = 0, size: int = 256) -> CrossSection:
    """Sample ``index`` of the set of ``seed``, ``size`` pixels square: the same bytes in whatever order.

    Raises MicrotomoError for a seed, index or size out of range.
    """
    if size < _SMALLEST_PX:
        raise MicrotomoError(f"size {size}: give at least {_SMALLEST_PX} pixels")
    rng = generator(seed, index)
    shape, unit = (size, size), size / 256
    top, bottom = _edges(size, rng)
    y = np.arange(size, dtype=np.float32)[:, None]
    above, below = y < top, y > bottom
    oxide = ~above & ~below
    coat = rng.uniform(0.65, 0.95)
    grey = rng.uniform(0.25, min(0.68, coat - 0.15))
    mounted = rng.random()  # resin instead of the coating, instead of the bond coat, or nowhere
    image = np.where(oxide, _oxide(shape, grey, unit, rng), 0).astype(np.float32)
    upper = _resin(shape, rng, coat, y - top) if mounted < 0.13 else _coating(shape, coat, unit, rng)
    lower = _resin(shape, rng, 0.0, y - top) if mounted > 0.87 else _bond_coat(shape, grey, unit, rng)
    image = np.where(above, upper, np.where(below, lower, image))
    pocket = _pockets(shape, y - top, unit, rng)
    image = np.where(pocket, rng.uniform(0.02, 0.6) * grey, image)
    image = _gap(image, y - bottom, grey, unit, rng)
    crack = _cracks(top, bottom, shape, unit, rng) & oxide
    image = np.where(crack, rng.uniform(0.2, 0.75) * grey, image)
    label = np.where(crack, CRACK, np.where(oxide & ~(pocket & (rng.random() < 0.8)), OXIDE, 0)).astype(np.uint8)
    slope = np.polyfit(np.arange(size), 0.5 * (top + bottom), 1)[0]
    return CrossSection(_recorded(image, unit, rng), label, float((bottom - top).mean() / np.hypot(1, slope)))


def _edges(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heights (x,) [px] of the oxide's upper and lower edge."""
    x = np.arange(size, dtype=np.float32)
    thick = log_uniform(rng, (0.09, 0.36)) * size
    middle = rng.uniform(0.35, 0.75) * size + np.tan(np.radians(rng.uniform(-10, 10))) * (x - size / 2)
    wave = 0.25 * rng.random() * thick * profile(size, size / 8, 1.5, rng)
    roughest = (0.12 * rng.random() * thick, 0.07 * rng.random() * thick)
    rough = [r * profile(size, log_uniform(rng, (0.01, 0.06)) * size, rng.uniform(0.4, 1.0), rng) for r in roughest]
    top = middle + wave - thick / 2 + rough[0]
    bottom = np.maximum(middle + wave + thick / 2 + rough[1], top + 0.4 * thick)
    return top.astype(np.float32), bottom.astype(np.float32)


def _pores(
    shape: tuple[int, int], scales: tuple[float, float], share: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Islands (y, x) that cover a share of the image, flatter than wide, of a size between two ``scales`` [px]."""
    size = log_uniform(rng, scales)
    lump = field(shape, (size, size * rng.uniform(1.0, 3.5)), rng) + 0.35 * field(shape, 0.4 * size + 0.3, rng)
    return np.asarray(lump > np.quantile(lump[::3, ::3], 1 - rng.uniform(*share)))


def _oxide(shape: tuple[int, int], grey: float, unit: float, rng: np.random.Generator) -> np.ndarray:
    image = grey * (1 + 0.02 * field(shape, 6 * unit, rng))
    for scales, share in (((0.6, 2.0), (0.0, 0.08)), ((2.0, 6.0), (-0.08, 0.12))):
        if share[1] > 0 and rng.random() < 0.75:
            part = (max(share[0], 0.0), share[1])
            image = np.where(
                _pores(shape, (scales[0] * unit + 0.2, scales[1] * unit + 0.3), part, rng),
                rng.uniform(0.2, 0.9) * grey, image,
            )  # fmt: skip
    return np.asarray(image)


def _coating(shape: tuple[int, int], coat: float, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Bright, with dark pores of several sizes, grey veins and islands."""
    image = np.full(shape, coat, dtype=np.float32)
    if rng.random() < 0.6:
        ridge = np.abs(field(shape, (rng.uniform(4, 10) * unit, rng.uniform(8, 22) * unit), rng))
        vein = ridge < rng.uniform(0.02, 0.25)
        image[vein] = rng.uniform(0.35, 0.75) * coat
        image[vein & (field(shape, 0.8 * unit + 0.2, rng) > 0.4)] = rng.uniform(0.6, 1.0) * coat
    for _ in range(rng.integers(1, 4)):
        image[_pores(shape, (0.7 * unit + 0.2, 6 * unit), (0.005, 0.1), rng)] = rng.uniform(0.02, 0.7) * coat
    return image


def _bond_coat(shape: tuple[int, int], grey: float, unit: float, rng: np.random.Generator) -> np.ndarray:
    level = grey * rng.uniform(0.78, 1.2)
    image = np.full(shape, level, dtype=np.float32) * (1 + 0.015 * field(shape, 8 * unit, rng))
    if rng.random() < 0.8:
        image[_pores(shape, (1.0 * unit + 0.2, 4 * unit), (0.002, 0.04), rng)] = rng.uniform(0.1, 0.8) * level
    return image


def _resin(shape: tuple[int, int], rng: np.random.Generator, coat: float, height: np.ndarray) -> np.ndarray:
    """Mounting resin: dark, without structure, darker beside the specimen; rests of a coating stick to the edge."""
    drift = 0.25 * rng.random() * field(shape, shape[0] / 3, rng) - rng.uniform(0, 0.5) * np.exp(-np.abs(height) / 30)
    image = rng.uniform(0.1, 0.5) * np.exp(drift)
    rest = (height > -rng.uniform(3, 25)) & (field(shape, shape[0] / 25, rng) > rng.uniform(0.3, 1.5))
    return np.where(rest & (coat > 0), coat, image)


def _pockets(shape: tuple[int, int], height: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Voids (y, x) where the coating has come off the oxide's upper edge."""
    if rng.random() < 0.3:
        return np.zeros(shape, dtype=bool)
    lump = field(shape, (rng.uniform(2, 5) * unit, rng.uniform(3, 10) * unit), rng)
    reach = rng.uniform(2, 9) * unit
    return np.asarray(lump - (height / reach) ** 2 > rng.uniform(0.0, 1.2))


def _gap(image: np.ndarray, depth: np.ndarray, grey: float, unit: float, rng: np.random.Generator) -> np.ndarray:
    """The image with a dark or a bright seam of varying width along the oxide's lower edge, or as it was."""
    kind = rng.random()
    if kind < 0.35:
        return image
    wide = rng.uniform(0.3, 2.2) * unit * np.exp(0.7 * field((1, image.shape[1]), (1.0, 12 * unit), rng)[:1])
    level = rng.uniform(0.1, 0.8) * grey if kind < 0.85 else rng.uniform(1.05, 1.3) * grey
    return np.where(np.abs(depth - 0.5 * wide) < 0.5 * wide, level, image)


def _cracks(
    top: np.ndarray, bottom: np.ndarray, shape: tuple[int, int], unit: float, rng: np.random.Generator
) -> np.ndarray:
    """Cracks (y, x) through the oxide from edge to edge, wandering."""
    crack = np.zeros(shape, dtype=bool)
    y, x = np.arange(shape[0], dtype=np.float32), np.arange(shape[1], dtype=np.float32)
    for _ in range(rng.integers(0, 6)):
        at = rng.uniform(0, shape[1])
        lean = np.tan(np.radians(rng.uniform(-25, 25)))
        middle = 0.5 * (top + bottom)[int(at)]
        path = at + lean * (y - middle) + rng.uniform(0.5, 4) * unit * profile(shape[0], 15 * unit, 1.0, rng)
        wide = rng.uniform(0.5, 2.5) * unit
        crack |= np.abs(x - path[:, None].astype(np.float32)) < 0.5 * wide + 0.25
    return crack


def _recorded(image: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Blur, slow shading, noise, gamma and brightness."""
    seen = gaussian_filter(image, rng.uniform(0.3, 0.8) * unit, mode="nearest")
    seen *= 1 + 0.04 * rng.random() * field(image.shape, image.shape[0] / 2, rng)
    seen += rng.uniform(0.003, 0.03) * rng.standard_normal(image.shape, dtype=np.float32)
    black, white = rng.uniform(0, 0.25), rng.uniform(0.75, 1.05)
    scaled = black + (white - black) * np.clip(seen, 0, 1.2) ** np.exp(rng.uniform(-0.4, 0.4))
    return np.asarray(np.round(np.clip(scaled, 0, 1) * 255) / 255, dtype=np.float32)
