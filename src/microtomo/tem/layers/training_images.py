"""The images that networks for layers learn from: each is the same for the same seed and index.

A pool of synthetic images is drawn once; index ``i`` is image ``i % pool`` in a symmetry of the square, with contrast
and noise of its own, so that every pass over the pool differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.random_fields import generator
from microtomo.tem.layers.synthetic import Conditions, overcoat
from microtomo.tem.layers.synthetic_sem import cross_section

Pair = tuple[np.ndarray, np.ndarray]

OVERCOATS = Conditions(
    pixel_nm=(0.05, 0.22), thickness_nm=(0.8, 5.5), fuzziness_nm=(0.05, 0.45), tilt_degrees=(0.0, 35.0),
    bare=0.03, dark=0.12, light=0.12, sticker=0.2, crossing=0.3,
)  # fmt: skip
"""What ``layer-unet`` learns from: wider than a test set, hard cases more often, and some images without a layer."""

_LYING = 0.25
"""Share of the images that are turned by a right angle: layers are found in any orientation, but an upright band and a
level one that cross are told apart by it, as overcoats stand upright and what crosses them does not."""

_OXIDE_BINNING = 2  # of a synthetic cross-section: 128 pixels show an oxide of 12 to 46

_WITH_LAYER = 0.5  # share of parts chosen around a pixel of the layer; of the others half have one anyway
_STREAM = 2**40  # augmentation's numbers start here, beyond every sample's


def normalised(image: np.ndarray) -> np.ndarray:
    """An image (y, x) with mean 0 and deviation 1, float32, as the networks take it.

    Raises MicrotomoError where all pixels are equal or some are not finite.
    """
    pixels = np.asarray(image, dtype=np.float32)
    deviation = float(pixels.std())
    if not np.isfinite(deviation):
        raise MicrotomoError("the image has pixels that are not finite (NaN or infinite): mend dead pixels first")
    if deviation == 0:
        raise MicrotomoError("every pixel of the image has the same value: nothing is recorded on it")
    return np.asarray((pixels - pixels.mean()) / deviation)


@dataclass(frozen=True)
class TrainingImages:
    """Images by index: ``draw(seed, index)`` gives one of the pool as grey levels 0..1 and target 0..1, (y, x) each.

    ``jitter``: deviation of the logarithm of gamma and, times 0.1, of added noise. ``crop``: side [px] of the part that
    is shown, none for whole images; three of four parts have the layer in them where the image has one. ``upright``:
    left and right are exchanged, but nothing is turned; else ``lying``: share that is turned by a right angle.
    """

    seed: int
    pool: int
    draw: Callable[[int, int], Pair]
    jitter: float = 0.15
    crop: int | None = None
    upright: bool = False
    lying: float = 0.5

    def stored(self, index: int) -> np.ndarray:
        """Image ``index`` of the pool and its target, (2, y, x) uint8: what is worth keeping between passes."""
        image, target = self.draw(self.seed, index)
        return np.asarray(np.round(np.stack([image, target]) * 255), dtype=np.uint8)

    def pair(self, index: int, kept: np.ndarray | None = None) -> Pair:
        """Normalised image and target, float32 (y, x), of ``index``; ``kept`` is its :meth:`stored` if at hand."""
        image, target = (self.stored(index % self.pool) if kept is None else kept).astype(np.float32) / 255
        rng = generator(self.seed, _STREAM + index)
        if self.crop is not None:
            image, target = _cropped(image, target, self.crop, rng)
        mirrored = rng.random(2) < 0.5
        lying = not self.upright and rng.random() < self.lying
        gamma, noise = np.exp(self.jitter * rng.standard_normal()), 0.1 * self.jitter * rng.random()
        spread = max(float(image.std()), 1e-3)
        image = image**gamma + np.float32(noise * spread) * rng.standard_normal(image.shape, dtype=np.float32)
        rows = slice(None, None, -1 if mirrored[0] and not self.upright else 1)
        columns = slice(None, None, -1 if mirrored[1] else 1)
        image, target = (a[rows, columns].T if lying else a[rows, columns] for a in (image, target))
        return normalised(image), np.ascontiguousarray(target, dtype=np.float32)


def _cropped(image: np.ndarray, target: np.ndarray, side: int, rng: np.random.Generator) -> Pair:
    """A square part of an image and its target."""
    corner = [int(rng.integers(0, max(n - side, 0) + 1)) for n in image.shape]
    if rng.random() < _WITH_LAYER:
        there = np.flatnonzero(target > 0.5)
        if len(there):
            place = np.unravel_index(there[rng.integers(len(there))], target.shape)
            shift = rng.integers(0, side, 2)
            corner = [int(np.clip(place[k] - shift[k], 0, image.shape[k] - side)) for k in (0, 1)]
    part = slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side)
    return image[part], target[part]


def overcoat_images(seed: int, pool: int = 3000, crop: int | None = 128) -> TrainingImages:
    """Overcoat images of :data:`OVERCOATS` with their coverage as target, as ``layer-unet`` learns from."""

    def draw(seed: int, index: int) -> Pair:
        sample = overcoat(seed, index, OVERCOATS)
        return sample.image, sample.cover

    return TrainingImages(seed, pool, draw, crop=crop, lying=_LYING)


def oxide_images(seed: int, pool: int = 700) -> TrainingImages:
    """Cross-sections of 128 pixels, their target the oxide with its cracks; never turned: the coating is on top."""

    def draw(seed: int, index: int) -> Pair:
        sample = cross_section(seed, index)
        return _binned(sample.image), _binned((sample.label > 0).astype(np.float32))

    return TrainingImages(seed, pool, draw, upright=True)


def _binned(image: np.ndarray) -> np.ndarray:
    n, (high, wide) = _OXIDE_BINNING, image.shape
    return np.asarray(image.reshape(high // n, n, wide // n, n).mean((1, 3)))
