"""Pictures of segmented micrographs: the classes over the image, and their errors against labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.registry import LabelClass
from microtomo.viz.colours import rgb

_ERRORS = np.array([(0, 0, 0), (220, 0, 0), (0, 60, 255), (255, 255, 255), (240, 228, 66)], dtype=np.uint8)
OPACITY = 0.35
"""Of the colour of a class over the image."""


def grey(image: np.ndarray) -> np.ndarray:
    """An image (y, x) as uint8 from black at its 0.5th to white at its 99.5th percentile."""
    low, high = np.percentile(image, (0.5, 99.5))
    scale = 255.0 / max(float(high - low), 1e-12)
    return np.asarray(np.clip((image - low) * scale, 0, 255), dtype=np.uint8)


def overlay(image: np.ndarray, labels: np.ndarray, classes: Sequence[LabelClass]) -> np.ndarray:
    """The image (y, x) in grey with each class of its labels (y, x) in its colour and outlined, as uint8 (y, x, 3)."""
    from scipy.ndimage import binary_erosion

    picture = np.repeat(grey(image)[..., None], 3, axis=2).astype(np.float32)
    for number, label in enumerate(classes):
        if label.colour is not None:
            inside, colour = labels == number, np.array(rgb(label.colour), dtype=np.float32)
            picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * colour
            picture[inside & ~binary_erosion(inside, border_value=1)] = colour
    return np.asarray(picture, dtype=np.uint8)


def errors(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """White where both (y, x) agree on a class other than 0, black where on none, red found in error, blue missed,
    yellow where another class is meant.

    uint8 (y, x, 3). Raises MicrotomoError where the two differ in shape.
    """
    if labels.shape != truth.shape:
        raise MicrotomoError(f"mask is {labels.shape} but label is {truth.shape}: compare images of one size")
    kind = (labels > 0).astype(np.uint8) + 2 * (truth > 0).astype(np.uint8)
    kind[(kind == 3) & (labels != truth)] = 4
    return np.asarray(_ERRORS[kind])
