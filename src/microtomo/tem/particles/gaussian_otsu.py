"""A blur and a threshold: the one line that every network for particles must beat."""

from __future__ import annotations

import numpy as np

from microtomo.registry import register
from microtomo.tem.segmentation import Segmentation
from microtomo.tem.smoothing import gaussian_mean


@register(
    "gaussian-otsu",
    task="particle",
    citation="Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62; as the baseline of Horwath et al., npj Comput. Mater. 6 "
    "(2020) 108",
)
def gaussian_otsu(image: np.ndarray, *, sigma_px: float = 5.0, bright: bool = False) -> Segmentation:
    """Particles where the blurred image is darker than Otsu's threshold: the one-line filter.

    ``sigma_px`` [px]: standard deviation of the Gaussian; ``bright``: particles are what is brighter instead.
    """
    blurred = gaussian_mean(np.asarray(image, dtype=np.float32), sigma_px)
    threshold = otsu(blurred)
    above = (blurred - threshold) / max(float(blurred.std()), 1e-12)
    above = above if bright else -above
    probability = (1 / (1 + np.exp(-4 * np.clip(above, -10, 10)))).astype(np.float32)
    options = {"sigma_px": sigma_px, "bright": bright}
    return Segmentation.of_mask(probability > 0.5, probability, "gaussian-otsu", options)


_BINS = 256  # of the histogram that the threshold is chosen on, as for 8-bit images


def otsu(image: np.ndarray) -> float:
    """The threshold that parts the values of an image (y, x) into two classes of greatest variance between them."""
    counts, edges = np.histogram(image, _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    first = np.cumsum(counts * middles)[:-1]
    # empty classes have no variance between them
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (first * total / below - first[-1] - counts[-1] * middles[-1]) ** 2 * below / (total - below)
    best = int(np.nanargmax(between))
    return float(edges[best + 1])
