"""Micrographs with masks to train on: of a folder, or synthetic; cut, turned and varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from pydantic import ConfigDict, Field, SerializeAsAny
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from microtomo.errors import MicrotomoError, nearest
from microtomo.models.micrographs.network import ARCHITECTURES, SegmenterConfig
from microtomo.seeds import KIND, Stream, derive_seed
from microtomo.settings import read_settings
from microtomo.tem.graphene.synthetic import micrograph
from microtomo.tem.illumination import normalise
from microtomo.tem.protocol import read_labelled
from microtomo.training.config import Count, OptimiserConfig, RunConfig, Samples, Share
from microtomo.training.data import Consecutive, turned

SHIPPED = "shipped"
_SYNTHETIC_VALIDATION = 16  # images


class PairsConfig(Samples):
    """Where micrographs come from, and how samples are drawn from them.

    ``folder``: images NAME.png with masks NAME_LABEL.png. ``synthetic``: images made before training; a sample is one
    of them with probability ``synthetic_share``, always where there is no folder. ``validation``: share of the folder
    kept apart to score each epoch, 0 for none; ``session``: characters at the start of a name that tell its session,
    which is kept apart as a whole, 0 where each image is its own. A sample is ``crop`` pixels a side, with
    probability ``zoomed`` of an image enlarged by ``zoom`` (evenly in its logarithm), else as recorded: interpolation
    takes noise away that a network must know. It is turned by one of eight symmetries, its contrast is inverted with
    probability ``inversion``, multiplied by up to exp(+-``contrast``) and shifted by up to ``brightness`` deviations.
    """

    folder: Path | None = None
    synthetic: Annotated[int, Field(ge=0, le=10**6)] = 0
    synthetic_share: Share = 0.0
    validation: Share = 0.2
    session: Annotated[int, Field(ge=0)] = 0
    crop: Annotated[int, Field(ge=32, le=2048)] = 128
    zoom: tuple[Annotated[float, Field(gt=0.1)], Annotated[float, Field(lt=10)]] = (0.8, 1.35)
    zoomed: Share = 0.4
    inversion: Share = 0.5
    contrast: Annotated[float, Field(ge=0, le=2)] = 0.25
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.2
    epoch: Count = 640
    workers: Annotated[int, Field(ge=0, le=256)] = 0


class SegmenterOptimiser(OptimiserConfig):
    """How weights move, see :class:`OptimiserConfig`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3


class SegmenterRun(RunConfig):
    """A training run of a network for micrographs.

    ``dice``: weight of the Dice loss beside the cross-entropy; ``start`` may be ``shipped``, the weights that come with
    the package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric, score = "jaccard", "Jaccard index"

    network: SerializeAsAny[SegmenterConfig]
    data: PairsConfig = PairsConfig()
    optimiser: SegmenterOptimiser = SegmenterOptimiser()
    epochs: Count = 20
    dice: Annotated[float, Field(ge=0, le=100)] = 1.0

    @property
    def validates(self) -> bool:
        """Whether images are kept apart to score each epoch."""
        return self.data.validation > 0


def load_segmenter_run(
    architecture: str, path: str | Path | None = None, overrides: Sequence[str] = (), **values: Any
) -> SegmenterRun:
    """Configuration of a run, as :func:`microtomo.training.config.load_train_config` for networks for scans."""
    if architecture not in ARCHITECTURES:
        raise MicrotomoError(f"unknown network {architecture!r}; {nearest(architecture, list(ARCHITECTURES))}")
    return read_settings(SegmenterRun, path, overrides, network__architecture=architecture, **values)


class Pairs(NamedTuple):
    """Images (y, x) of counts, and where they are contaminated (y, x); ``names`` of the images where they have some."""

    images: Sequence[np.ndarray]
    masks: Sequence[np.ndarray]
    names: Sequence[str] = ()


class PairSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample i: image (1, y, x) and mask (y, x), drawn from (seed, i) alone out of all that there are."""

    def __init__(self, config: SegmenterRun, real: Pairs, synthetic: Pairs) -> None:
        self.config = config
        self.pools = [(real, [normalise(image) for image in real.images]), (synthetic, list(synthetic.images))]

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        data = self.config.data
        draw = np.random.Generator(np.random.Philox(key=derive_seed(self.config.seed, Stream.TRAINING, i, KIND)))
        made_up = draw.random() < data.synthetic_share or not self.pools[0][1]
        pairs, images = self.pools[made_up and bool(self.pools[1][1])]
        number = int(draw.integers(len(images)))
        image, mask = images[number], pairs.masks[number]
        low, high = data.zoom
        zoom = low * (high / low) ** draw.random() if draw.random() < data.zoomed else 1.0
        side = round(data.crop / zoom)
        rows, columns = (min(side, size) for size in image.shape)
        y, x = (int(draw.integers(size - cut + 1)) for size, cut in zip(image.shape, (rows, columns), strict=True))
        cut = np.stack([image[y : y + rows, x : x + columns], mask[y : y + rows, x : x + columns]], dtype=np.float32)
        seen = functional.interpolate(
            torch.from_numpy(cut)[None], (data.crop, data.crop), mode="bilinear", align_corners=False
        )[0]
        seen = turned(seen, int(draw.integers(8)))
        sign = -1.0 if draw.random() < data.inversion else 1.0
        gain, shift = math.exp(draw.uniform(-data.contrast, data.contrast)), draw.uniform(-1, 1) * data.brightness
        return seen[:1] * (sign * gain) + shift, (seen[1] > 0.5).long()


class WholePairs(Dataset[tuple[Tensor, Tensor]]):
    """Whole normalised images (1, y, x) and masks (y, x), as they are."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(normalise(self.pairs.images[i]))
        return image[None], torch.from_numpy(np.asarray(self.pairs.masks[i], dtype=np.int64))


class PairData(pl.LightningDataModule):
    """Batches of the configuration, from ``pairs`` or from its folder.

    Raises MicrotomoError where there is nothing to train on, or too little to keep some of it apart.
    """

    def __init__(self, config: SegmenterRun, pairs: Pairs | None = None) -> None:
        super().__init__()
        self.config = config
        data = config.data
        if pairs is None and data.folder is not None:
            read = read_labelled(data.folder)
            pairs = Pairs(read.images, read.labels, read.names)
        if pairs is None and not data.synthetic:
            raise MicrotomoError("there is nothing to train on: set data.folder=FOLDER or data.synthetic=400")
        if pairs is None:
            held = _SYNTHETIC_VALIDATION if config.validates else 0
            made = made_up(config.seed, data.synthetic + held)
            real, synthetic = Pairs((), ()), chosen(made, range(data.synthetic))
            self.held = chosen(made, range(data.synthetic, data.synthetic + held))
        else:
            kept, held_out = split(pairs, data, config.seed)
            real, self.held = chosen(pairs, kept), chosen(pairs, held_out)
            synthetic = made_up(config.seed, data.synthetic)
        self.images = len(real.images)
        """Labelled images that are trained on."""
        flat = [normalise(image) for image in synthetic.images]
        self.samples = PairSamples(config, real, synthetic._replace(images=flat))

    @property
    def described(self) -> dict[str, Any]:
        """What the weights' card tells of the data: how many images, and of the folder its name alone."""
        folder = self.config.data.folder
        told = self.config.data.model_dump(mode="json")
        return {**told, "folder": None if folder is None else folder.name, "images": self.images}

    @property
    def steps_of_epoch(self) -> int:
        """Optimiser steps of one epoch on each device."""
        each = max(1, self.config.data.epoch // self.config.devices)
        return math.ceil(each / min(self.config.optimiser.batch, each))

    def train_dataloader(self) -> DataLoader[Any]:
        """One epoch of samples, which begins where the last one ended."""
        assert self.trainer is not None
        count, epoch = self.config.data.epoch, self.trainer.current_epoch
        order = Consecutive(epoch * count, count, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            self.samples,
            batch_size=min(self.config.optimiser.batch, max(1, len(order))),
            sampler=order,
            num_workers=self.config.data.workers,
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The images kept apart, one by one: they may differ in size."""
        return DataLoader(WholePairs(self.held), batch_size=1) if self.config.validates else []


def chosen(pairs: Pairs, indices: Sequence[int] | np.ndarray | range) -> Pairs:
    """Some of the pairs."""
    names = [pairs.names[i] for i in indices] if pairs.names else ()
    return Pairs([pairs.images[i] for i in indices], [pairs.masks[i] for i in indices], names)


def made_up(seed: int, count: int) -> Pairs:
    """Synthetic images of that seed, and their masks."""
    made = [micrograph(seed, i) for i in range(count)]
    return Pairs([m.image for m in made], [m.contaminant for m in made])


def split(pairs: Pairs, data: PairsConfig, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to keep apart: at least ``validation`` of the images, sessions as a whole."""
    count = len(pairs.images)
    if not data.validation:
        return list(range(count)), []
    sessions = [pairs.names[i][: data.session] if data.session and pairs.names else str(i) for i in range(count)]
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
