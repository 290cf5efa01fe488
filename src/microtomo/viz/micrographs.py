"""Pictures of segmented micrographs: the mask over the image, and its errors against a label."""

from __future__ import annotations

import numpy as np

from microtomo.errors import MicrotomoError

_MASK = np.array((213, 94, 0), dtype=np.float32)  # vermillion
_ERRORS = np.array([(0, 0, 0), (220, 0, 0), (0, 60, 255), (255, 255, 255)], dtype=np.uint8)


def grey(image: np.ndarray) -> np.ndarray:
    """An image (y, x) as uint8 from black at its 0.5th to white at its 99.5th percentile."""
    low, high = np.percentile(image, (0.5, 99.5))
    scale = 255.0 / max(float(high - low), 1e-12)
    return np.asarray(np.clip((image - low) * scale, 0, 255), dtype=np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image (y, x) in grey with its mask (y, x) in vermillion and outlined, as uint8 (y, x, 3)."""
    from scipy.ndimage import binary_erosion

    picture = np.repeat(grey(image)[..., None], 3, axis=2).astype(np.float32)
    picture[mask] = 0.65 * picture[mask] + 0.35 * _MASK
    picture[mask & ~binary_erosion(mask, border_value=1)] = _MASK
    return np.asarray(picture, dtype=np.uint8)


def errors(mask: np.ndarray, label: np.ndarray) -> np.ndarray:
    """White where mask and label (y, x) agree on contaminant, black where on none, red found in error, blue missed.

    uint8 (y, x, 3). Raises MicrotomoError where the two differ in shape.
    """
    if mask.shape != label.shape:
        raise MicrotomoError(f"mask is {mask.shape} but label is {label.shape}: compare images of one size")
    return np.asarray(_ERRORS[mask.astype(np.uint8) + 2 * label.astype(np.uint8)])
