"""Where particles sit on a support, how large they are and what they look like."""

from __future__ import annotations

import numpy as np

from microtomo.tem.graphene.fields import smooth_field
from microtomo.tem.particles.outlines import Bodies, facetted, rounded

_TRIALS = 6  # places tried for each particle before it is given up
_HIDDEN = 0.6  # of the sum of radii: nearer than this two particles would pass for one


def place_particles(
    support: np.ndarray,
    diameter_px: float,
    *,
    spread: float,
    covered: float,
    touching: float,
    grown: tuple[float, float],
    most: int,
    rng: np.random.Generator,
) -> Bodies:
    """Particles on a support (y, x): log-normal sizes about ``diameter_px`` [px] with deviation ``spread``.

    They cover about ``covered`` of the image, sit on the support (a few beside it), gather where chance has it, and
    a share ``touching`` leans on another one; a few are larger by a factor in the range ``grown``. Some lie across the
    border; heights are in pixels, as the diameters.
    """
    high, wide = support.shape
    reach = 1.5 * diameter_px
    count = covered * (high + 2 * reach) * (wide + 2 * reach) / (np.pi / 4 * diameter_px**2 * np.exp(2 * spread**2))
    count = int(np.clip(np.round(count), 1, most))
    sizes = diameter_px * np.exp(np.clip(rng.normal(0, spread, count), -2.5 * spread, 2.2 * spread))
    if rng.random() < 0.3:  # a few that grew out of the rest
        few = rng.random(count) < 0.04
        sizes[few] *= rng.uniform(*grown, int(few.sum()))
    sizes = np.sort(sizes)[::-1]
    weight = _preference(support, diameter_px, rng)
    overlap = rng.uniform(0.0, 0.4) if rng.random() < 0.6 else 0.0
    centres, kept = _centres(sizes / 2, weight, reach, touching, overlap, rng)
    return _bodies(centres, sizes[kept], rng)


def _preference(support: np.ndarray, diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """Odds (y, x) of a particle: on the support, and denser in patches in half of the images."""
    odds = np.where(support > 0.08, 1.0, rng.choice((0.0, 0.02)))
    if rng.random() < 0.5:
        patches = smooth_field((support.shape[0], support.shape[1]), diameter_px * rng.uniform(3, 12), rng)
        odds = odds * np.clip(np.exp(rng.uniform(0.5, 1.5) * patches), 0.02, 8) / 8
    else:
        odds = odds * 0.5
    return np.asarray(odds)


def _centres(
    radii: np.ndarray, weight: np.ndarray, reach: float, touching: float, overlap: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, 2) and the indices (k,) of the radii that found a place, largest first."""
    high, wide = weight.shape
    centres, kept = np.empty((len(radii), 2)), np.empty(len(radii), dtype=np.int64)
    n = 0
    for i, radius in enumerate(radii):
        lean, may_overlap = n > 0 and rng.random() < touching, rng.random() < overlap
        for _ in range(_TRIALS):
            if lean:
                other = int(rng.integers(n))
                angle = rng.uniform(0, 2 * np.pi)
                gap = (radius + radii[kept[other]]) * rng.uniform(0.78, 1.08)
                place = centres[other] + gap * np.array([np.sin(angle), np.cos(angle)])
            else:
                place = rng.uniform((-reach, -reach), (high + reach, wide + reach))
            row, column = (int(np.clip(place[0], 0, high - 1)), int(np.clip(place[1], 0, wide - 1)))
            if rng.random() > weight[row, column] and not lean:
                continue
            apart = np.hypot(*(centres[:n] - place).T) / (radii[kept[:n]] + radius)
            if n == 0 or apart.min() > (_HIDDEN if may_overlap else 0.78 if lean else 1.05):
                centres[n], kept[n] = place, i
                n += 1
                break
    return centres[:n], kept[:n]


def _bodies(centres: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> Bodies:
    """Caps, spheres and crystals with facets, in shares that differ from image to image."""
    count = len(sizes)
    elongation = rng.uniform(0.02, 0.3)
    outlines = rounded(count, elongation, rng.uniform(0.01, 0.08), rng)
    profiles = np.stack([np.full(count, 2.0), rng.uniform(0.4, 1.0, count)], axis=1)
    crystal = rng.random(count) < rng.uniform(0, 0.7)
    outlines[crystal] = facetted(int(crystal.sum()), elongation, rng)
    profiles[crystal] = np.stack([rng.uniform(1.5, 8, crystal.sum()), rng.uniform(0.6, 1, crystal.sum())], axis=1)
    heights = sizes * np.exp(rng.normal(0, 0.12, count))
    return Bodies(centres, outlines * sizes[:, None] / 2, heights, profiles)
