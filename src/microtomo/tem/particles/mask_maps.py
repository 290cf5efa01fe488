"""Maps of particles from a mask alone, so that what other methods or people outline is measured the same way."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from microtomo.tem.particles.maps import Maps
from microtomo.tem.particles.measurement import DEVIATION_SCALE
from microtomo.tem.particles.regions import regions

OUTLINE_SD_PX = 1 / math.sqrt(12)
"""Standard deviation [px] of where an outline lies that is known to the pixel: uniform over its width."""


def mask_maps(mask: np.ndarray) -> Maps:
    """Maps of a mask (y, x): coverage 0 or 1, depth the distance from the outline over the largest of the connected
    part, sizes of equal areas, and the deviation of a diameter whose whole outline is off by the same part of a pixel.
    """
    inside = np.asarray(mask, dtype=bool)
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1])
    parts, count = ndimage.label(inside)
    largest = np.ones(count + 1)
    if count:
        largest[1:] = ndimage.maximum(distance, parts, np.arange(1, count + 1))
    cover = inside.astype(np.float32)
    depth = (distance / largest[parts]).astype(np.float32)
    labels = regions(cover, depth)
    area = np.bincount(labels.ravel(), minlength=1).astype(np.float32)
    area[0] = 1
    size = (2 * np.sqrt(np.maximum(area, 1) / np.pi))[labels].astype(np.float32)
    deviation = (2 * OUTLINE_SD_PX / (DEVIATION_SCALE * math.log(2)) / size).astype(np.float32)
    return Maps(cover, depth, size, deviation, 1.0, (inside.shape[0], inside.shape[1]), True)
