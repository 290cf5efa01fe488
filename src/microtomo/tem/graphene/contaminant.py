"""The task of graphene: where amorphous carbon covers it.

Source: Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804.
"""

from __future__ import annotations

import numpy as np

from microtomo.metrics import foreground_scores
from microtomo.registry import LabelClass, Metric, Preparation, Task, add_task
from microtomo.tem.graphene.synthetic import micrograph
from microtomo.tem.illumination import normalise

WORKING_SIDE_PX = 256
"""Pixels a side that the published images were reduced to, and that the methods' lengths refer to."""

SMALLEST_PX = 32
"""Pixels along the shorter side, below which there is no lattice to measure."""


def example(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic image (y, x) of counts and its labels (y, x) uint8."""
    sample = micrograph(seed, index)
    return sample.image, sample.contaminant.astype(np.uint8)


CONTAMINANT = add_task(
    Task(
        name="contaminant",
        input="micrograph",
        title="contaminants (amorphous carbon) on graphene",
        metric=Metric("jaccard", "Jaccard index", foreground_scores),
        trial="synthetic images",
        classes=(LabelClass("graphene"), LabelClass("contaminant", "#D55E00")),
        preparation=Preparation(normalise, WORKING_SIDE_PX, SMALLEST_PX),
        example=example,
    )
)
