"""Training of networks that find thin layers: on synthetic overcoats, whose target is the share of a pixel covered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from microtomo.models.architectures import Network
from microtomo.models.micrographs.layer_unet import LayerConfig
from microtomo.tem.layers.task import example
from microtomo.tem.layers.training_images import TrainingImages, normalised, overcoat_images, oxide_images
from microtomo.training.config import Count
from microtomo.training.images import LabelledImages
from microtomo.training.micrographs import (
    SYNTHETIC_VALIDATION,
    MicrographData,
    MicrographRun,
    MicrographTraining,
)
from microtomo.training.task import TrainingTask, trains

_SMOOTHING_PX = 50.0
"""Pixels added above and below in the Dice loss, so that images without a layer have one too."""


class LayerData(MicrographData):
    """Where images of layers come from, see :class:`MicrographData`.

    Without a ``folder`` they are parts of ``crop`` pixels of ``synthetic`` overcoats
    (:func:`microtomo.tem.layers.training_images.overcoat_images`), or whole cross-sections of an ``oxide``
    (:func:`microtomo.tem.layers.training_images.oxide_images`), which vary by themselves: ``zoom``, ``inversion``,
    ``contrast`` and ``brightness`` are for images of a folder.
    """

    scene: Literal["overcoat", "oxide"] = "overcoat"

    synthetic: Annotated[int, Field(ge=0, le=10**6)] = 3000
    crop: Annotated[int, Field(ge=32, le=256)] = 176
    epoch: Count = 5000


class LayerRun(MicrographRun):
    """A training run of a network for layers, see :class:`MicrographRun`."""

    data: LayerData = LayerData()
    dice: Annotated[float, Field(ge=0, le=100)] = 0.2


class OvercoatSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample i: normalised image (1, y, x) and target (y, x), share of each pixel in the layer; the pool is kept."""

    def __init__(self, images: TrainingImages) -> None:
        self.images = images
        self._kept: dict[int, np.ndarray] = {}

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        number = i % self.images.pool
        if number not in self._kept:
            self._kept[number] = self.images.stored(number)
        image, target = self.images.pair(i, self._kept[number])
        return torch.from_numpy(image)[None], torch.from_numpy(target)


@trains(LayerConfig)
class LayerTraining(MicrographTraining):
    """Overcoats in, the share of each pixel that the layer covers out; labelled images as any other task's."""

    run = LayerRun
    config: LayerRun

    def __init__(self, config: LayerRun, images: LabelledImages | None = None) -> None:
        data = config.data
        self.overcoats: OvercoatSamples | None = None
        if images is not None or data.folder is not None or not data.synthetic:
            super().__init__(config, images)
            return
        TrainingTask.__init__(self, config)
        self.classes = config.network.classes
        held = range(data.synthetic, data.synthetic + (SYNTHETIC_VALIDATION if config.validates else 0))
        if data.scene == "overcoat":
            self.overcoats = OvercoatSamples(overcoat_images(config.seed, data.synthetic, data.crop))
            apart = [example(config.seed, index) for index in held]
        else:
            oxides = oxide_images(config.seed, data.synthetic)
            self.overcoats = OvercoatSamples(oxides)
            drawn = [oxides.draw(config.seed, index) for index in held]
            apart = [(image, (target >= 0.5).astype(np.uint8)) for image, target in drawn]
        self.kept_apart = LabelledImages([normalised(image) for image, _ in apart], [labels for _, labels in apart])

    def samples(self, epoch: int) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        if self.overcoats is None:
            return super().samples(epoch)
        count = self.config.data.epoch
        return self.overcoats, range(epoch * count, (epoch + 1) * count)

    @property
    def described(self) -> dict[str, Any]:
        """As any micrographs', or that they are overcoats."""
        if self.overcoats is None:
            return super().described
        return {**self.config.data.model_dump(mode="json"), "images": f"synthetic {self.config.data.scene}s"}

    def loss(self, network: Network, batch: tuple[Tensor, Tensor]) -> Tensor:
        image, target = batch
        if not target.is_floating_point():
            return super().loss(network, batch)
        return coverage_loss(network(image), target, self.config.dice)


def coverage_loss(logits: Tensor, target: Tensor, dice: float) -> Tensor:
    """Cross-entropy of logits (n, 2, y, x) against shares 0..1 (n, y, x), and ``dice`` times one less the mean Dice."""
    logits = logits.float()
    layer = logits[:, 1] - logits[:, 0]
    loss = functional.binary_cross_entropy_with_logits(layer, target)
    p = layer.sigmoid()
    both, either = (p * target).sum((1, 2)), p.sum((1, 2)) + target.sum((1, 2))
    return loss + dice * (1 - (2 * both + _SMOOTHING_PX) / (either + _SMOOTHING_PX)).mean()
