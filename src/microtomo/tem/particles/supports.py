"""Supports of catalysts as thickness maps: agglomerates of spheres, porous clouds, grains, films, a grid bar.

All maps (y, x) are float32 and relative: about 1 where the support has its usual thickness, 0 where there is none.
"""

from __future__ import annotations

import numpy as np

from microtomo.tem.graphene.fields import smooth_field
from microtomo.tem.particles.outlines import Bodies, draw, facetted, rounded

_MOST_BODIES = 2500  # grains of one support: keeps the drawing quick


def support(shape: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """A support for particles of ``diameter_px`` [px] across, of one kind or two on top of each other."""
    kinds = (_spheres, _cloud, _grains, _film)
    first = rng.choice(4, p=(0.38, 0.27, 0.2, 0.15))
    total = kinds[first](shape, diameter_px, rng)
    if rng.random() < 0.35:
        total = total + rng.uniform(0.2, 1) * kinds[rng.choice(4)](shape, diameter_px, rng)
    if rng.random() < 0.12:
        total = np.maximum(total, rng.uniform(0.15, 0.6) * _bar(shape, rng))
    if rng.random() < 0.7:
        grain = smooth_field(shape, diameter_px * rng.uniform(0.12, 1.2), rng)
        total = total * np.maximum(1 + rng.uniform(0, 0.12) * grain, 0)
    return np.asarray(total / max(float(np.percentile(total, 80)), 0.25), dtype=np.float32)


def heaped(support: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A support (y, x) that is thicker in some places than in others: by a smooth field of ``deviation`` in the
    logarithm, half as much again as an image is wide at most from one heap to the next."""
    shape = (support.shape[0], support.shape[1])
    field = smooth_field(shape, min(shape) * rng.uniform(0.1, 0.5), rng)
    return np.asarray(support * np.exp(np.float32(deviation) * field), dtype=np.float32)


def _present(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where the material lies: positive inside (all of the image in a third of the cases), negative in vacuum."""
    side = min(shape)
    if rng.random() < 0.35:
        return np.ones(shape, dtype=np.float32)
    field = smooth_field(shape, side * rng.uniform(0.25, 0.8), rng) + rng.uniform(-0.5, 1.0)
    return np.asarray(field, dtype=np.float32)


def _scatter(shape: tuple[int, int], count: int, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Up to ``count`` places (n, 2) in and around the image, only where material lies."""
    high, wide = shape
    places = rng.uniform((-margin, -margin), (high + margin, wide + margin), (count, 2))
    inside = np.clip(places, 0, (high - 1, wide - 1)).astype(int)
    here: np.ndarray = places[_present(shape, rng)[inside[:, 0], inside[:, 1]] > 0]
    return here


def _number(shape: tuple[int, int], radius: float, layers: float) -> int:
    area = (shape[0] + 2 * radius) * (shape[1] + 2 * radius)
    return int(np.clip(layers * area / (np.pi * radius**2), 1, _MOST_BODIES))


def _spheres(shape: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """An agglomerate of primary particles, as carbon black and fumed silica are."""
    radius = diameter_px * np.exp(rng.uniform(np.log(1.0), np.log(6)))
    count = _number(shape, radius, rng.uniform(0.6, 4))
    places = _scatter(shape, count, radius, rng)
    sizes = radius * np.exp(rng.normal(0, rng.uniform(0.1, 0.4), len(places)))
    outline = rounded(len(places), 0.15, 0.08, rng) * sizes[:, None]
    profile = np.tile([2.0, 0.5], (len(places), 1))
    return draw(Bodies(places, outline, sizes / radius, profile), shape, fine=1).thickness


def _grains(shape: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """Facetted or ragged grains of an oxide, from equant to needles, each of nearly even thickness."""
    radius = diameter_px * np.exp(rng.uniform(np.log(1.2), np.log(10)))
    places = _scatter(shape, _number(shape, radius, rng.uniform(0.4, 3)), radius, rng)
    sizes = radius * np.exp(rng.normal(0, 0.35, len(places)))
    outline = facetted(len(places), rng.uniform(0.1, 0.7), rng)
    if rng.random() < 0.5:
        outline = rounded(len(places), rng.uniform(0.2, 0.8), 0.25, rng)
    heights = np.exp(rng.normal(0, 0.4, len(places)))
    profile = np.tile([rng.uniform(2, 8), rng.uniform(0.6, 1.5)], (len(places), 1))
    return draw(Bodies(places, outline * sizes[:, None], heights, profile), shape, fine=1).thickness


def _cloud(shape: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """A porous body seen through: lumps within lumps, each finer generation weaker."""
    scale, weaker = diameter_px * rng.uniform(4, 16), rng.uniform(0.45, 0.8)
    total, size = np.full(shape, rng.uniform(0.3, 1.5), dtype=np.float32), 1.0
    while scale > max(2.0, 0.4 * diameter_px):
        total += np.float32(size * rng.uniform(0.5, 1.2)) * smooth_field(shape, scale, rng)
        scale, size = scale / 2, size * weaker
    return np.asarray(np.maximum(total, 0) * np.clip(_present(shape, rng) * 4, 0, 1))


def _film(shape: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> np.ndarray:
    """An amorphous film, nearly even, sometimes with an edge or a hole."""
    uneven = rng.uniform(0, 0.15) * smooth_field(shape, min(shape) * rng.uniform(0.2, 0.7), rng)
    edge = np.clip(_present(shape, rng) * min(shape) / (4 * diameter_px), 0, 1)
    return np.asarray(np.maximum(1 + uneven, 0.2) * edge)


def _bar(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A curved bar of the lacey film that carries the sample."""
    high, wide = shape
    y, x = np.ogrid[:high, :wide]
    bend = min(shape) * rng.uniform(0.7, 4)
    angle, past = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4) * min(shape)
    far = np.hypot(y - high / 2 - (bend + past) * np.sin(angle), x - wide / 2 - (bend + past) * np.cos(angle))
    width = min(shape) * rng.uniform(0.04, 0.5)
    return np.asarray(np.clip((width - np.abs(far - bend)) / 3, 0, 1), dtype=np.float32)
