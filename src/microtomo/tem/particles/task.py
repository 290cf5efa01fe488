"""The task of nanoparticles: where they are, on whatever support, in dark field and in bright field.

Source: Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108.
"""

from __future__ import annotations

import numpy as np

from microtomo.metrics import foreground_scores
from microtomo.registry import LabelClass, Metric, Preparation, Task, add_task
from microtomo.tem.particles.maps import SMALLEST
from microtomo.tem.particles.synthetic import particle_image
from microtomo.tem.particles.training_images import normalised


def example(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic image (y, x) of counts and its labels (y, x) uint8: 1 where particles cover half of a pixel."""
    made = particle_image(seed, index)
    return made.image, (made.drawing.coverage > 0.5).astype(np.uint8)


PARTICLE = add_task(
    Task(
        name="particle",
        input="micrograph",
        title="nanoparticles on a support",
        metric=Metric("f1", "F1", foreground_scores),
        trial="synthetic images",
        classes=(LabelClass("background"), LabelClass("particle", "#E69F00")),
        preparation=Preparation(normalised, smallest_px=SMALLEST),
        example=example,
    )
)
