"""Training of networks that find and measure particles, on synthetic images made as training goes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor
from torch.utils.data import Dataset

from microtomo.models.architectures import Network
from microtomo.models.micrographs.particle_unet import ParticleConfig
from microtomo.seeds import VALIDATION_SEED
from microtomo.tem.particles.loss import particle_loss
from microtomo.tem.particles.outputs import COVER
from microtomo.tem.particles.training_images import training_image
from microtomo.training.config import Count, OptimiserConfig, RunConfig, Samples
from microtomo.training.task import TrainingTask, trains

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Images (n, y, x), and the coverage, depth, size and weight (n, y, x) that belong to them."""


class ParticleData(Samples):
    """Synthetic images of ``side`` pixels: ``epoch`` new ones each epoch, and ``validation`` of another seed, the same
    each time, that score it."""

    side: Annotated[int, Field(ge=32, le=2048, multiple_of=16)] = 192
    validation: Annotated[int, Field(ge=0, le=10**6)] = 48
    epoch: Count = 800


class ParticleOptimiser(OptimiserConfig):
    """How weights move, see :class:`OptimiserConfig`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 60
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99


class ParticleRun(RunConfig):
    """A training run of a network for particles."""

    metric, score, source = "f1", "F1 of pixels", "data.folder"

    network: SerializeAsAny[ParticleConfig]
    data: ParticleData = ParticleData()
    optimiser: ParticleOptimiser = ParticleOptimiser()
    epochs: Count = 20

    @property
    def validates(self) -> bool:
        """Whether images are kept apart to score each epoch."""
        return self.data.validation > 0


@trains(ParticleConfig)
class ParticleTraining(TrainingTask):
    """Synthetic images in; coverage, depth and size of particles out, scored by the F1 of pixels that particles cover.

    What is too faint to be seen counts neither way.
    """

    run = ParticleRun
    config: ParticleRun

    def samples(self, epoch: int) -> tuple[Dataset[Batch], range]:
        count = self.config.data.epoch
        numbers = range(epoch * count, (epoch + 1) * count)
        return ParticleImages(self.config.seed, self.config.data.side), numbers

    def held_out(self) -> tuple[Dataset[Batch], range]:
        return ParticleImages(VALIDATION_SEED, self.config.data.side), range(self.config.data.validation)

    @property
    def described(self) -> dict[str, Any]:
        """The settings of the synthetic images."""
        return self.config.data.model_dump(mode="json")

    def loss(self, network: Network, batch: Batch) -> Tensor:
        image, *targets = batch
        return particle_loss(network(image[:, None]).float(), *targets)

    def assess(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss; pixels that are found and there, found in error, and missed."""
        image, cover, depth, size, weight = batch
        output = network(image[:, None]).float()
        seen, found, there = weight > 0, output[:, COVER] > 0, cover > 0.5
        pixels = [(seen & mask).sum() for mask in (found & there, found & ~there, ~found & there)]
        return particle_loss(output, cover, depth, size, weight), torch.stack(pixels).double()

    def score(self, counts: Tensor) -> Tensor:
        """F1 of all pixels."""
        right, wrong, missed = counts
        f1: Tensor = 2 * right / (2 * right + wrong + missed).clamp_min(1)
        return f1


class ParticleImages(Dataset[Batch]):
    """Sample i is synthetic image i of a seed, see :func:`training_image`."""

    def __init__(self, seed: int, side: int) -> None:
        self.seed, self.side = seed, side

    def __getitem__(self, i: int) -> Batch:
        made = training_image(self.seed, i, self.side)
        image, cover, depth, size, weight = (
            torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
            for values in (made.image, made.cover, made.depth, made.size, made.weight)
        )
        return image, cover, depth, size, weight
