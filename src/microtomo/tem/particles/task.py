"""The task of nanoparticles: where they are, on whatever support, in dark field and in bright field.

Source: Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtomo.metrics import MaskScores, mask_scores
from microtomo.registry import LabelClass, Metric, Preparation, Task, add_task
from microtomo.scan import Array
from microtomo.tem.particles.maps import SMALLEST
from microtomo.tem.particles.synthetic import particle_image
from microtomo.tem.particles.training_images import normalised


def particle_scores(predicted: Array, true: Array, classes: Sequence[str]) -> MaskScores:
    """Scores of the pixels of particles in label images, see :func:`microtomo.metrics.mask_scores`."""
    return mask_scores(predicted, true)


def example(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic image (y, x) of counts and its labels (y, x) uint8: 1 where particles cover half of a pixel."""
    made = particle_image(seed, index)
    return made.image, (made.drawing.coverage > 0.5).astype(np.uint8)


PARTICLE = add_task(
    Task(
        name="particle",
        input="micrograph",
        title="nanoparticles on a support",
        metric=Metric("f1", "F1", particle_scores),
        trial="synthetic images",
        classes=(LabelClass("background"), LabelClass("particle", "#E69F00")),
        preparation=Preparation(normalised, smallest_px=SMALLEST),
        example=example,
    )
)
