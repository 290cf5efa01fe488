"""Every segmenter of a task on the same synthetic images: what each scores, beside what was published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.registry import Method, Task
from microtomo.seeds import TEST_SEED
from microtomo.tem.segmentation import segment


@dataclass(frozen=True)
class ImageEntry:
    """Scores of one method on the synthetic images of its task, pooled over all pixels, and median seconds an image.

    ``metric`` names the score that ranks; ``scores`` has it under its key, and all others of the task.
    """

    trial: str
    method: str
    samples: int
    published: float | None
    metric: str
    scores: dict[str, Any]
    seconds: float

    @property
    def score(self) -> float:
        """The score that ranks."""
        return float(self.scores[self.metric])


def run_images(task: Task, method: Method, samples: int, seed: int = TEST_SEED) -> ImageEntry:
    """Segment synthetic images 0 to ``samples - 1`` of a seed one by one, and score the labels by the task's metric.

    Raises MicrotomoError for a task without synthetic images.
    """
    if task.example is None:
        raise MicrotomoError(f"task {task.name} has no synthetic images to compare methods on: give it an example")
    labels, truths, seconds = [], [], []
    for index in range(samples):
        image, truth = task.example(seed, index)
        started = time.perf_counter()
        labels.append(segment(image, method.name).labels.ravel())
        seconds.append(time.perf_counter() - started)
        truths.append(truth.ravel())
    classes = [label.name for label in task.classes]
    scores = task.metric.score(np.concatenate(labels), np.concatenate(truths), classes)
    return ImageEntry(
        trial=task.trial,
        method=method.name,
        samples=samples,
        published=method.published_score(task.trial),
        metric=task.metric.key,
        scores=scores.as_dict(),
        seconds=median(seconds),
    )


def run_all(
    task: Task,
    methods: Iterable[Method],
    samples: int,
    seed: int = TEST_SEED,
    done: Callable[[ImageEntry], None] = lambda entry: None,
) -> list[ImageEntry]:
    """Every method of a task that runs straight after installation; ``done`` is called with each entry."""
    entries = []
    for method in methods:
        if method.ready():
            entries.append(run_images(task, method, samples, seed))
            done(entries[-1])
    return entries
