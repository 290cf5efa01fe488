"""What a segmenter of micrographs gives, and the one way from an image of any size to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, nearest
from microtomo.registry import get_method
from microtomo.scan import Array, as_tensor

SMALLEST = 32
"""Pixels along the shorter side, below which there is no lattice to measure."""

WORKING_SIDE = 256
"""Pixels along the shorter side that the published images were reduced to, and that the methods' lengths refer to."""


@dataclass(frozen=True)
class Segmentation:
    """A micrograph split in two: ``mask`` (y, x) is True where the class in question (contaminant) is.

    ``probability`` (y, x) lies in 0..1, and the mask is where it exceeds 0.5. Filters give score / (score +
    threshold), which orders pixels but is not calibrated; networks give theirs. ``uncertainty`` (y, x) is the standard
    deviation of the probability where a method has one. ``method`` and ``options`` say how it was made.
    """

    mask: np.ndarray
    probability: np.ndarray
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    uncertainty: np.ndarray | None = None

    @property
    def covered(self) -> float:
        """Share of the pixels inside the mask."""
        return float(self.mask.mean())


def segment(image: Array, method: str = "bragg", *, binning: int | None = None, **options: Any) -> Segmentation:
    """Segment a micrograph (y, x) of raw counts with a registered method of task ``tem``.

    An image of 512 pixels or more along its shorter side is binned by a whole number to between 256 and 511, as the
    published images were; the result comes in the image's own size. ``binning`` overrides the number (1: none).
    Raises MicrotomoError for an image that is no micrograph, a method of another task and options it does not have.
    """
    pixels = checked(image)
    chosen = get_method(method)
    if chosen.task != "tem":
        raise MicrotomoError(f"method {method!r} is for {chosen.task}, not for micrographs: see `microtomo models`")
    n = max(1, min(pixels.shape) // WORKING_SIDE) if binning is None else binning
    if n < 1 or min(pixels.shape) // n < SMALLEST:
        raise MicrotomoError(
            f"binning {n} leaves {min(pixels.shape) // max(n, 1)} pixels: choose 1 to {min(pixels.shape) // SMALLEST}"
        )
    for name in options:
        if name not in chosen.options:
            raise MicrotomoError(f"method {method!r} has no option {name!r}; {nearest(name, chosen.options)}")
    found: Segmentation = chosen.run(binned(pixels, n), **options)
    if n == 1:
        return found
    return Segmentation(
        enlarged(found.mask, n, pixels.shape),
        enlarged(found.probability, n, pixels.shape),
        found.method,
        {**found.options, "binning": n},
        None if found.uncertainty is None else enlarged(found.uncertainty, n, pixels.shape),
    )


def checked(image: Array) -> np.ndarray:
    """The image as a float32 array (y, x). Raises MicrotomoError where it is no grey micrograph or holds nothing."""
    pixels = np.ascontiguousarray(as_tensor(image).detach().cpu().numpy(), dtype=np.float32)
    if pixels.size == 0:
        raise MicrotomoError("the image is empty: give one with pixels")
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        raise MicrotomoError("is a colour (RGB) image: export the micrograph itself as grey values, not a screenshot")
    if pixels.ndim != 2:
        raise MicrotomoError(f"a micrograph is (y, x); got shape {pixels.shape}: give one image at a time")
    if min(pixels.shape) < SMALLEST:
        raise MicrotomoError(
            f"the image is {pixels.shape[0]} x {pixels.shape[1]} pixels: at least {SMALLEST} x {SMALLEST} are needed"
        )
    finite = np.isfinite(pixels)
    if not finite.all():
        raise MicrotomoError(
            f"{int((~finite).sum())} of {pixels.size} pixels are not finite (NaN or infinite): mend dead pixels first"
        )
    if pixels.min() == pixels.max():
        raise MicrotomoError(f"every pixel of the image is {pixels[0, 0]:g}: nothing is recorded on it")
    return pixels


def binned(image: np.ndarray, n: int) -> np.ndarray:
    """Means of n x n pixels; rows and columns that fill no whole bin are left out."""
    if n == 1:
        return image
    high, wide = image.shape[0] // n, image.shape[1] // n
    blocks = image[: high * n, : wide * n].reshape(high, n, wide, n)
    return np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))


def enlarged(image: np.ndarray, n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Each pixel as n x n, the last row and column repeated up to ``shape``: the way back from ``binned``."""
    rows, columns = (
        np.minimum(np.arange(size) // n, short - 1) for size, short in zip(shape, image.shape, strict=True)
    )
    whole: np.ndarray = image[rows[:, None], columns]
    return whole
