"""The task of thin layers in cross-section, such as the carbon overcoat of a recording head.

Source: the head-overcoat paper, sections 2.1 and 3.
"""

from __future__ import annotations

import numpy as np

from microtomo.metrics import foreground_scores
from microtomo.registry import LabelClass, Metric, Preparation, Task, add_task
from microtomo.tem.layers.synthetic import overcoat
from microtomo.tem.layers.training_images import normalised

WORKING_SIDE_PX = 256
"""Pixels along the shorter side of the images that the networks learned from, which larger ones are binned down to."""

SMALLEST_PX = 32
"""Pixels along the shorter side, below which a layer and both its neighbours do not fit."""


def example(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic image (y, x) of grey levels and its labels (y, x) uint8."""
    sample = overcoat(seed, index)
    return sample.image, sample.mask.astype(np.uint8)


LAYER = add_task(
    Task(
        name="layer",
        input="micrograph",
        title="thin layers in cross-section",
        metric=Metric("f1", "Dice", foreground_scores),
        trial="synthetic overcoats",
        classes=(LabelClass("background"), LabelClass("layer", "#009E73")),
        preparation=Preparation(normalised, WORKING_SIDE_PX, SMALLEST_PX),
        example=example,
        others_labelled=True,
    )
)
