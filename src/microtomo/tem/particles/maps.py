"""From an image to the particle network's maps, without settings: which sign, which magnification, and tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.outputs import COVER, DEPTH, DEVIATION, MIDDLE_SIZE, SIZE
from microtomo.tem.particles.training_images import normalised

SMALLEST = 32
"""Pixels along the shorter side of an image, at least."""

BEST_DIAMETER_PX = 11.0
"""Median diameter [px] that an image is enlarged or reduced towards."""

_FITTING = 0.68  # octaves: medians from 7 to 18 px are left as they are (F1 of validation images at each zoom)
_FIRST_SIDE = 1024  # px: longer images are first looked at reduced
_LARGEST = 2048 * 2048  # px at the magnification that is used in the end
_ZOOMS = (0.125, 0.25, 0.5, 1.0, 2.0)
_TILE, _MARGIN = 960, 64  # px kept of a tile, and of its surroundings that the network sees beside


class PixelNetwork(Protocol):
    """A network that gives the four outputs (n, 4, y, x) of :mod:`microtomo.tem.particles.outputs` for images
    (n, 1, y, x) with bright particles, whose sides are multiples of ``step``."""

    @property
    def step(self) -> int:
        """Sides of the input must be multiples of this."""

    def __call__(self, image: Tensor) -> Tensor:
        """The outputs."""

    def parameters(self) -> Iterator[Tensor]:
        """Its weights, whose kind of number is that of the input."""


@dataclass(frozen=True)
class Maps:
    """The network's answer (y, x), float32, on an image enlarged by ``zoom``.

    ``cover`` share of the pixel under particles; ``depth`` 1 at centres to 0 on outlines; ``size`` diameter [px of
    these maps]; ``deviation`` of log2(size); ``shape`` of the image itself; ``bright`` whether its particles are.
    """

    cover: np.ndarray
    depth: np.ndarray
    size: np.ndarray
    deviation: np.ndarray
    zoom: float
    shape: tuple[int, int]
    bright: bool

    def enlarged(self, n: int, shape: tuple[int, ...]) -> Maps:
        """The same maps, for an image of ``shape`` that was binned by ``n`` before."""
        return replace(self, zoom=self.zoom / n, shape=(shape[0], shape[1]))

    def at_own_size(self, values: np.ndarray) -> np.ndarray:
        """A map (y, x) at the image's own size: each pixel takes the mean of, or lies between, its neighbours there."""
        tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
        high, wide = self.shape
        if self.zoom > 1:
            step = round(self.zoom)
            return np.asarray(functional.avg_pool2d(tensor, step)[0, 0, :high, :wide].numpy())
        if self.zoom < 1:
            tensor = functional.interpolate(tensor, scale_factor=round(1 / self.zoom), mode="bilinear")
        return np.asarray(tensor[0, 0, :high, :wide].numpy())


def particle_maps(
    network: PixelNetwork, image: np.ndarray, *, bright: bool | None = None, zoom: float | None = None
) -> Maps:
    """Maps of an image (y, x) of any offset and scale.

    The sign and the magnification at which most is found come first, at low resolution; ``bright`` and ``zoom`` (a
    power of two) override them. Raises MicrotomoError for an image that is too small, even, or not finite.
    """
    pixels = _checked(image)
    first = min(1.0, 2.0 ** np.floor(np.log2(_FIRST_SIDE / max(pixels.shape)))) if zoom is None else zoom
    signs = (True, False) if bright is None else (bright,)
    tried = [_mapped(network, pixels, first, sign) for sign in signs]
    best = max(tried, key=_found)
    wanted = _better_zoom(best, pixels.shape) if zoom is None else first
    if wanted == best.zoom:
        return best
    closer = _mapped(network, pixels, wanted, best.bright)
    return best if wanted > 1 and _covered(closer) > _NOISE * max(_covered(best), _A_SPECK) else closer


_NOISE = 5.0
"""Enlarged beyond its own pixels an image shows nothing new: where particles then cover more than so many times as much
as before, it is noise that they are seen in (50 to 100 times on noise, .5 to 1.3 times on particles of 4 to 6 px)."""
_A_SPECK = 1e-3  # share of the image


def _covered(maps: Maps) -> float:
    """Share of the image under particles."""
    return float((maps.cover > 0.5).mean())


def _checked(image: np.ndarray) -> np.ndarray:
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim != 2:
        raise MicrotomoError(f"an image is (y, x); got shape {pixels.shape}: give one grey image at a time")
    if min(pixels.shape) < SMALLEST:
        raise MicrotomoError(f"the image is {pixels.shape[0]} x {pixels.shape[1]}: at least {SMALLEST} are needed")
    if not np.isfinite(pixels).all():
        raise MicrotomoError("the image has pixels that are not finite: mend dead pixels first")
    if pixels.min() == pixels.max():
        raise MicrotomoError("every pixel of the image is the same: nothing is recorded on it")
    return pixels


def _found(maps: Maps) -> float:
    """How much is found: deep inside particles with certainty."""
    return float((maps.depth * np.clip(2 * maps.cover - 1, 0, 1)).sum())


def _better_zoom(maps: Maps, shape: tuple[int, ...]) -> float:
    """The zoom that brings the median diameter nearest to the best one; each particle counts once."""
    weight = maps.depth * (maps.cover > 0.5) / maps.size**2
    if weight.sum() < 1e-4 * weight.size / BEST_DIAMETER_PX**2:
        return maps.zoom
    order = np.argsort(maps.size, axis=None)
    total = np.cumsum(weight.ravel()[order])
    median = float(maps.size.ravel()[order[np.searchsorted(total, 0.5 * total[-1])]])
    octaves = np.log2(BEST_DIAMETER_PX / median)
    steps = int(np.sign(octaves) * np.floor(abs(octaves) + 1 - _FITTING))
    fitting = [z for z in _ZOOMS if shape[0] * shape[1] * z**2 <= _LARGEST and min(shape) * z >= SMALLEST]
    return min(fitting or [maps.zoom], key=lambda z: abs(np.log2(z / (maps.zoom * 2.0**steps))))


def _mapped(network: PixelNetwork, pixels: np.ndarray, zoom: float, bright: bool) -> Maps:
    """Maps at one sign and zoom."""
    seen = torch.from_numpy(normalised(zoomed(pixels, zoom)))
    seen = seen if bright else -seen
    output = torch.empty((4, *seen.shape))
    with torch.inference_mode():
        for rows, columns, inner_rows, inner_columns in _tiles(seen.shape[0], seen.shape[1]):
            answer = _answer(network, seen[rows, columns])
            output[:, inner_rows, inner_columns] = answer[
                :,
                inner_rows.start - rows.start : inner_rows.stop - rows.start,
                inner_columns.start - columns.start : inner_columns.stop - columns.start,
            ]
    output[:2] = output[:2].sigmoid()
    output[SIZE] = (output[SIZE] + MIDDLE_SIZE).clamp(1, 9).exp2()
    output[DEVIATION] = output[DEVIATION].clamp(-5, 2).exp()
    cover, depth, size, deviation = (output[k].numpy() for k in (COVER, DEPTH, SIZE, DEVIATION))
    return Maps(cover, depth, size, deviation, zoom, (pixels.shape[0], pixels.shape[1]), bright)


def _answer(network: PixelNetwork, tile: Tensor) -> Tensor:
    """Outputs (4, y, x) of a tile (y, x), mirrored at its end up to the network's step and the local window."""
    high, wide = tile.shape
    rows, columns = -high % network.step, -wide % network.step
    padded = functional.pad(tile[None, None], (0, columns, 0, rows), mode="reflect")
    answer: Tensor = network(padded.to(next(network.parameters()).dtype))[0, :, :high, :wide]
    return answer.float()


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Rows and columns that the network sees, and those of the image that are kept of them."""
    for kept_rows in _spans(height):
        for kept_columns in _spans(width):
            yield (
                slice(max(0, kept_rows.start - _MARGIN), min(height, kept_rows.stop + _MARGIN)),
                slice(max(0, kept_columns.start - _MARGIN), min(width, kept_columns.stop + _MARGIN)),
                kept_rows,
                kept_columns,
            )


def _spans(size: int) -> list[slice]:
    parts = max(1, round(size / _TILE))
    edges = np.linspace(0, size, parts + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def zoomed(pixels: np.ndarray, zoom: float) -> np.ndarray:
    """The image (y, x) at another magnification: means of whole blocks downwards, cubic upwards."""
    if zoom == 1:
        return pixels
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))[None, None]
    if zoom < 1:
        return np.asarray(functional.avg_pool2d(tensor, round(1 / zoom), ceil_mode=True)[0, 0].numpy())
    larger = functional.interpolate(tensor, scale_factor=zoom, mode="bicubic", align_corners=False)
    return np.asarray(larger[0, 0].numpy())
