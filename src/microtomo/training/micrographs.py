"""Training of networks that give each pixel of a micrograph a class, scored by the Jaccard index of all pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Network, architecture
from microtomo.models.micrographs.network import SegmenterConfig
from microtomo.registry import get_task
from microtomo.tem.protocol import read_labelled
from microtomo.tem.segmentation import preparation_of
from microtomo.training.config import Count, OptimiserConfig, RunConfig, Samples, Share
from microtomo.training.images import (
    ImageSamples,
    LabelledImages,
    WholeImages,
    check_labels,
    split,
    synthetic_images,
)
from microtomo.training.task import TrainingTask, trains

SYNTHETIC_VALIDATION = 16
"""Synthetic images that score each epoch where there are no others."""


class MicrographData(Samples):
    """Where micrographs come from, and how samples are drawn from them.

    ``folder``: images NAME.png with labels NAME_LABEL.png. ``synthetic``: images made before training; a sample is one
    of them with probability ``synthetic_share``, always where there is no folder. ``validation``: share of the folder
    kept apart to score each epoch, 0 for none; ``session``: characters at the start of a name that tell its session,
    which is kept apart as a whole, 0 where each image is its own. A sample is ``crop`` pixels a side, with
    probability ``zoomed`` of an image enlarged by ``zoom`` (evenly in its logarithm), else as recorded: interpolation
    takes noise away that a network must know. It is turned by one of eight symmetries, of images that stand
    ``upright`` only mirrored left to right; its contrast is inverted with probability ``inversion``, multiplied by up
    to exp(+-``contrast``) and shifted by up to ``brightness`` deviations.
    """

    folder: Path | None = None
    synthetic: Annotated[int, Field(ge=0, le=10**6)] = 0
    synthetic_share: Share = 0.0
    validation: Share = 0.2
    session: Annotated[int, Field(ge=0)] = 0
    crop: Annotated[int, Field(ge=32, le=2048)] = 128
    zoom: tuple[Annotated[float, Field(gt=0.1)], Annotated[float, Field(lt=10)]] = (0.8, 1.35)
    zoomed: Share = 0.4
    upright: bool = False
    inversion: Share = 0.5
    contrast: Annotated[float, Field(ge=0, le=2)] = 0.25
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.2
    epoch: Count = 640


class MicrographOptimiser(OptimiserConfig):
    """How weights move, see :class:`OptimiserConfig`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3


class MicrographRun(RunConfig):
    """A training run of a network for micrographs; ``dice``: weight of the Dice loss beside the cross-entropy."""

    metric, score, source = "jaccard", "Jaccard index", "data.folder"

    network: SerializeAsAny[SegmenterConfig]
    data: MicrographData = MicrographData()
    optimiser: MicrographOptimiser = MicrographOptimiser()
    epochs: Count = 20
    dice: Annotated[float, Field(ge=0, le=100)] = 1.0

    @property
    def validates(self) -> bool:
        """Whether images are kept apart to score each epoch."""
        return self.data.validation > 0


@trains(SegmenterConfig)
class MicrographTraining(TrainingTask):
    """Labelled images in, a class a pixel out; ``images`` are those to train on instead of ``data.folder``.

    Raises MicrotomoError where there is nothing to train on, too little to keep some of it apart, or an unknown label.
    """

    run = MicrographRun
    config: MicrographRun
    validation_batch = 1  # whole images may differ in size

    def __init__(self, config: MicrographRun, images: LabelledImages | None = None) -> None:
        super().__init__(config)
        data, self.classes = config.data, config.network.classes
        task = get_task(architecture(config.network.architecture).task)
        if images is None and data.folder is not None:
            stored = read_labelled(data.folder, task.name)
            images = LabelledImages(stored.images, stored.labels, stored.names)
        if images is None and not data.synthetic:
            raise MicrotomoError("there is nothing to train on: set data.folder=FOLDER or data.synthetic=400")
        if images is None:
            held = SYNTHETIC_VALIDATION if config.validates else 0
            drawn = synthetic_images(task, config.seed, data.synthetic + held)
            real, synthetic = LabelledImages((), ()), drawn.chosen(range(data.synthetic))
            kept_apart = drawn.chosen(range(data.synthetic, data.synthetic + held))
        else:
            check_labels(images, self.classes)
            kept, held_out = split(images, data, config.seed)
            real, kept_apart = images.chosen(kept), images.chosen(held_out)
            synthetic = synthetic_images(task, config.seed, data.synthetic)
        self.real, self.synthetic, self.kept_apart = (
            each.normalised(preparation_of(task).normalise) for each in (real, synthetic, kept_apart)
        )

    def samples(self, epoch: int) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        count = self.config.data.epoch
        return ImageSamples(self.config, self.real, self.synthetic), range(epoch * count, (epoch + 1) * count)

    def held_out(self) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        images = WholeImages(self.kept_apart)
        return images, range(len(images))

    @property
    def described(self) -> dict[str, Any]:
        """How many images, and of the folder its name alone."""
        folder = self.config.data.folder
        settings = self.config.data.model_dump(mode="json")
        return {**settings, "folder": None if folder is None else folder.name, "images": len(self.real.images)}

    def loss(self, network: Network, batch: tuple[Tensor, Tensor]) -> Tensor:
        image, labels = batch
        return segmentation_loss(network(image), labels, self.config.dice)

    def assess(self, network: Network, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss; pixels of each true class (rows) by the class that they were given."""
        image, labels = batch
        logits = network(image).float()
        numbers = labels * self.classes + logits.argmax(1)  # of the places in the table
        counts = torch.bincount(numbers.flatten(), minlength=self.classes**2).reshape(self.classes, self.classes)
        return segmentation_loss(logits, labels, self.config.dice), counts.double()

    def score(self, counts: Tensor) -> Tensor:
        """Jaccard index of the pixels of all images, mean over the classes beside the first that are there."""
        both = counts.diagonal()[1:]
        either = counts.sum(0)[1:] + counts.sum(1)[1:] - both
        there = either > 0
        return (both[there] / either[there]).mean() if bool(there.any()) else both.sum()


def segmentation_loss(logits: Tensor, labels: Tensor, dice: float) -> Tensor:
    """Cross-entropy of logits (n, c, y, x) against labels (n, y, x), and ``dice`` times one less the batch's Dice, mean
    over the classes beside the first."""
    logits = logits.float()
    loss = functional.cross_entropy(logits, labels)
    if dice:
        p = logits.softmax(1)[:, 1:].transpose(0, 1).flatten(1)
        true = torch.stack([labels == k for k in range(1, logits.shape[1])]).flatten(1).to(p)
        share = (2 * (p * true).sum(1) + 1) / (p.sum(1) + true.sum(1) + 1)
        loss = loss + dice * (1 - share.mean())
    return loss
