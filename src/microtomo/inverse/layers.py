"""The task of scans: which layer, how thick, at every pixel."""

from __future__ import annotations

from microtomo.metrics import voxel_scores
from microtomo.registry import Metric, Task, add_task

LAYERS = add_task(
    Task(
        name="layers",
        input="scan",
        title="layers under the surface (multi-energy backscatter SEM)",
        metric=Metric("miou", "mIoU", voxel_scores),
        trial="test set",
    )
)
"""Classes are ``empty`` and the layers of the scan's stack, bottom to top; figures are of Artemov et al."""
