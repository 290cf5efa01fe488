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

Pair = tuple[np.ndarray, np.ndarray]

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

    ``jitter``: deviation of the logarithm of gamma and, times 0.1, of added noise.
    """

    seed: int
    pool: int
    draw: Callable[[int, int], Pair]
    jitter: float = 0.15

    def stored(self, index: int) -> np.ndarray:
        """Image ``index`` of the pool and its target, (2, y, x) uint8: what is worth keeping between passes."""
        image, target = self.draw(self.seed, index)
        return np.asarray(np.round(np.stack([image, target]) * 255), dtype=np.uint8)

    def pair(self, index: int, kept: np.ndarray | None = None) -> Pair:
        """Normalised image and target, float32 (y, x), of ``index``; ``kept`` is its :meth:`stored` if at hand."""
        image, target = (self.stored(index % self.pool) if kept is None else kept).astype(np.float32) / 255
        rng = generator(self.seed, _STREAM + index)
        symmetry = int(rng.integers(8))
        gamma, noise = np.exp(self.jitter * rng.standard_normal()), 0.1 * self.jitter * rng.random()
        spread = max(float(image.std()), 1e-3)
        image = image**gamma + np.float32(noise * spread) * rng.standard_normal(image.shape, dtype=np.float32)
        image, target = (np.rot90(a, symmetry % 4) for a in (image, target))
        if symmetry >= 4:
            image, target = image[:, ::-1], target[:, ::-1]
        return normalised(image), np.ascontiguousarray(target, dtype=np.float32)
