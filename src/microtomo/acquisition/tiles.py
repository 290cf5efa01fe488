"""An image in small square tiles, those without an edge apart from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TILES = 32  # along the shorter side
_EVEN = 1.35  # scatter inside a tile over that of the most even tenth: noise alone exceeds it once in 10^5 tiles


def tile_side(shape: tuple[int, ...]) -> int:
    """Pixels a side of the tiles of images (..., y, x): even, 4 at least."""
    return int(max(4, min(shape[-2:]) // TILES) // 2 * 2)


@dataclass(frozen=True)
class Tiles:
    """Mean signals (e, h, w) of tiles, which of them are ``even`` (h, w), and the relative standard deviation of the
    mean of an even one."""

    means: np.ndarray
    even: np.ndarray
    error: float

    @property
    def logs(self) -> np.ndarray:
        """Logarithm of the mean signals (t, e) of the even tiles."""
        logs: np.ndarray = np.log(self.means[:, self.even]).T
        return logs

    def over(self, factor: np.ndarray) -> Tiles:
        """The same of images divided by ``factor``, which broadcasts against the means."""
        return Tiles(self.means / factor, self.even, self.error)


def tiles_of(images: np.ndarray) -> Tiles:
    """Tiles of images (e, y, x); none is even where a mean is not above 0 or the image is too small."""
    side = tile_side(images.shape)
    count, high, wide = len(images), images.shape[1] // side, images.shape[2] // side
    cut = images[:, : high * side, : wide * side].reshape(count, high, side, wide, side)
    means = cut.mean((2, 4), dtype=float)
    if not means.size or not (means > 0).all():
        return Tiles(means, np.zeros((high, wide), bool), float("nan"))
    squares = np.einsum("ehawb,ehawb->ehw", cut, cut, dtype=float) / side**2
    rough = (squares / means**2 - 1).mean(0) * side**2 / (side**2 - 1)
    usual = float(np.quantile(rough, 0.1))
    return Tiles(means, rough <= _EVEN * usual, (max(usual, 0.0) ** 0.5) / side)
