"""Labelled micrographs to train on: read, synthetic, kept apart; cut, turned and varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from microtomo.errors import MicrotomoError
from microtomo.registry import Task
from microtomo.seeds import KIND, Stream, derive_seed
from microtomo.training.data import turned

if TYPE_CHECKING:
    from microtomo.training.micrographs import MicrographData, MicrographRun


class LabelledImages(NamedTuple):
    """Images (y, x), and labels (y, x) 0, 1, ... of each; ``names`` of the images where they have some."""

    images: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    names: Sequence[str] = ()

    def chosen(self, indices: Sequence[int] | range) -> LabelledImages:
        """Some of the images."""
        names = [self.names[i] for i in indices] if self.names else ()
        return LabelledImages([self.images[i] for i in indices], [self.labels[i] for i in indices], names)

    def normalised(self, normalise: Callable[[np.ndarray], np.ndarray]) -> LabelledImages:
        """The same with images as networks take them."""
        return self._replace(images=[normalise(image) for image in self.images])


def synthetic_images(task: Task, seed: int, count: int) -> LabelledImages:
    """The first examples of a task for a seed. Raises MicrotomoError where the task makes none."""
    if count and task.example is None:
        raise MicrotomoError(f"task {task.name} has no synthetic images: set data.synthetic=0 and data.folder=FOLDER")
    samples = [task.example(seed, i) for i in range(count)] if task.example else []
    return LabelledImages([image for image, _ in samples], [labels for _, labels in samples])


def check_labels(images: LabelledImages, classes: int) -> None:
    """Raise MicrotomoError unless all labels are whole numbers from 0 to ``classes`` - 1."""
    for number, labels in enumerate(images.labels):
        wrong = np.setdiff1d(labels, np.arange(classes))
        if wrong.size:
            name = images.names[number] if images.names else f"image {number}"
            raise MicrotomoError(
                f"{name}: has label {wrong[-1]:g} where the network knows classes 0 to {classes - 1}: mend the "
                "labels, or set network.classes"
            )


class ImageSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample i: image (1, y, x) and labels (y, x), drawn from (seed, i) alone out of all normalised images."""

    def __init__(self, config: MicrographRun, real: LabelledImages, synthetic: LabelledImages) -> None:
        self.config, self.real, self.synthetic = config, real, synthetic

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        data = self.config.data
        draw = np.random.Generator(np.random.Philox(key=derive_seed(self.config.seed, Stream.TRAINING, i, KIND)))
        wants_synthetic = draw.random() < data.synthetic_share or not self.real.images
        images = self.synthetic if wants_synthetic and self.synthetic.images else self.real
        number = int(draw.integers(len(images.images)))
        image, labels = images.images[number], images.labels[number]
        low, high = data.zoom
        zoom = low * (high / low) ** draw.random() if draw.random() < data.zoomed else 1.0
        side = round(data.crop / zoom)
        rows, columns = (min(side, size) for size in image.shape)
        y, x = (int(draw.integers(size - cut + 1)) for size, cut in zip(image.shape, (rows, columns), strict=True))
        window = (slice(y, y + rows), slice(x, x + columns))
        shares = [labels[window] == k for k in range(1, self.config.network.classes)]
        channels = torch.from_numpy(np.stack([image[window], *shares], dtype=np.float32))
        resized = functional.interpolate(channels[None], (data.crop, data.crop), mode="bilinear", align_corners=False)[
            0
        ]
        resized = turned(resized, 4 * int(draw.integers(2)) if data.upright else int(draw.integers(8)))
        sign = -1.0 if draw.random() < data.inversion else 1.0
        gain, shift = math.exp(draw.uniform(-data.contrast, data.contrast)), draw.uniform(-1, 1) * data.brightness
        others = resized[1:]
        return resized[:1] * (sign * gain) + shift, torch.cat([1 - others.sum(0, keepdim=True), others]).argmax(0)


class WholeImages(Dataset[tuple[Tensor, Tensor]]):
    """Whole normalised images (1, y, x) and labels (y, x), as they are."""

    def __init__(self, images: LabelledImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        image, labels = self.images.images[i], self.images.labels[i]
        return torch.from_numpy(image)[None], torch.from_numpy(np.asarray(labels, dtype=np.int64))


def split(images: LabelledImages, data: MicrographData, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to keep apart: at least ``validation`` of the images, sessions as a whole."""
    count = len(images.images)
    if not data.validation:
        return list(range(count)), []
    sessions = [images.names[i][: data.session] if data.session and images.names else str(i) for i in range(count)]
    held: set[str] = set()
    draw = np.random.Generator(np.random.Philox(key=derive_seed(seed, Stream.HELD_OUT, 0, 0)))
    for session in draw.permutation(sorted(set(sessions))):
        if sum(s in held for s in sessions) >= data.validation * count:
            break
        held.add(str(session))
    kept = [i for i, session in enumerate(sessions) if session not in held]
    if not kept or not held:
        raise MicrotomoError(
            f"{count} images of {len(set(sessions))} sessions leave nothing to train on beside those kept apart: set a "
            "lower data.validation, 0 for none, or data.session=0"
        )
    return kept, [i for i, session in enumerate(sessions) if session in held]
