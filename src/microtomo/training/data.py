"""Scans to train on: simulated as training goes, or read from a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from microtomo.physics.detector import Detector
from microtomo.physics.forward import ForwardModel
from microtomo.seeds import KIND, NOISE, Stream, derive_seed
from microtomo.simulate.samples import draw_structure
from microtomo.simulate.scans import record
from microtomo.training.batch import Batch
from microtomo.training.config import TrainConfig
from microtomo.training.stored import StoredScans


class SimulatedScans(Dataset[Batch]):
    """Sample i of a stream depends on (configuration, seed, stream, i) alone; there is no last one."""

    def __init__(self, config: TrainConfig, stream: Stream) -> None:
        self.config, self.stream = config, stream

    def __getitem__(self, i: int) -> Batch:
        data, stack, seed = self.config.data, self.config.network.stack, self.config.seed
        draw = np.random.Generator(np.random.Philox(key=derive_seed(seed, self.stream, i, KIND)))
        weights = np.array(list(data.structures.values()))
        kind = list(data.structures)[int(draw.choice(len(weights), p=weights / weights.sum()))]
        noise = data.noise
        if self.stream == Stream.TRAINING and draw.uniform() >= data.noise_share:
            low, high = data.noise_range
            noise = low * (high / low) ** draw.uniform()
        thickness = draw_structure(stack, kind, seed, self.stream, i, data.height, data.width)
        noise_seed = derive_seed(seed, self.stream, i, NOISE) >> 1  # tensors hold signed numbers
        return Batch(torch.empty(0), thickness, torch.tensor(noise), torch.tensor(noise_seed))


class Consecutive(Sampler[int]):
    """Numbers ``first + rank``, ``first + rank + world``, ... of one epoch, for one of ``world`` devices."""

    def __init__(self, first: int, count: int, rank: int, world: int) -> None:
        self.numbers = range(first + rank, first + count // world * world, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class ScanData(pl.LightningDataModule):
    """Batches of the configuration; simulation runs on the device that trains."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def described(self) -> dict[str, Any]:
        """What the weights' card tells of the data."""
        return self.config.data.model_dump(mode="json")

    @property
    def steps_of_epoch(self) -> int:
        """Optimiser steps of one epoch on each device."""
        config = self.config
        count = config.data.epoch
        if config.data.path is not None:
            count = min(count, len(StoredScans(config, "train", 0)))
        each = max(1, count // config.devices)
        return math.ceil(each / min(config.optimiser.batch, each))

    def train_dataloader(self) -> DataLoader[Any]:
        """One epoch of fresh samples: made anew each epoch, so that it starts where the last one ended."""
        assert self.trainer is not None
        config, epoch = self.config, self.trainer.current_epoch
        rank, world = self.trainer.global_rank, self.trainer.world_size
        if config.data.path is None:
            fresh = Consecutive(epoch * config.data.epoch, config.data.epoch, rank, world)
            return self._loader(SimulatedScans(config, Stream.TRAINING), fresh)
        source = StoredScans(config, "train", epoch)
        return self._loader(source, Consecutive(0, min(len(source), config.data.epoch), rank, world))

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation samples, the same every time."""
        assert self.trainer is not None
        config = self.config
        rank, world = self.trainer.global_rank, self.trainer.world_size
        if config.data.path is None:
            source = SimulatedScans(config, Stream.TRAINING_VALIDATION)
            return self._loader(source, Consecutive(0, config.data.validation, rank, world))
        stored = StoredScans(config, "validation", 0)
        return self._loader(stored, Consecutive(0, min(len(stored), config.data.validation), rank, world))

    def _loader(self, source: Dataset[Batch], sampler: Sampler[int]) -> DataLoader[Any]:
        return DataLoader(
            source,
            batch_size=min(self.config.optimiser.batch, max(1, len(sampler))),  # type: ignore[arg-type]
            sampler=sampler,
            num_workers=self.config.data.workers,
            drop_last=False,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Simulates the scans, and turns each sample by one of the eight symmetries of the square."""
        batch = Batch(*batch)
        network = self.config.network
        signal = batch.signal
        if signal.numel() == 0:
            signal = simulate(batch.thickness, batch.noise, batch.seed, network.forward_model)
        thickness = batch.thickness
        if self.config.data.symmetries and self.trainer is not None and self.trainer.training:
            turns = (batch.seed % 8).tolist()
            signal = torch.stack([turned(s, t) for s, t in zip(signal, turns, strict=True)])
            thickness = torch.stack([turned(d, t) for d, t in zip(thickness, turns, strict=True)])
        return Batch(signal, thickness, batch.noise, batch.seed)


def turned(image: Tensor, symmetry: int) -> Tensor:
    """One of the eight symmetries of (..., y, x); images that are not square only get the four that keep the shape."""
    if image.shape[-1] != image.shape[-2]:
        symmetry = (symmetry & 1) * 2 + (symmetry & 4)
    image = image.rot90(symmetry % 4, (-2, -1))
    return image.flip(-1) if symmetry >= 4 else image


def simulate(thickness: Tensor, noise: Tensor, seeds: Tensor, forward: ForwardModel) -> Tensor:
    """Scans (n, e, y, x) of thickness maps (n, l, y, x) [nm] with relative noise (n,), on their device.

    On the CPU each sample is what :func:`microtomo.simulate.scans.record` gives for its seed; on another device
    the noise comes from that device's generator, seeded by the batch's first seed.
    """
    if thickness.device.type == "cpu":
        return torch.stack(
            [
                record(d, forward, Detector(noise=float(s)), int(seed))
                for d, s, seed in zip(thickness, noise, seeds, strict=True)
            ]
        )
    signal = forward(thickness)
    generator = torch.Generator(thickness.device).manual_seed(int(seeds[0]) % 2**63)
    normal = torch.randn(signal.shape, generator=generator, device=signal.device, dtype=signal.dtype)
    return signal * (1 + noise[:, None, None, None] * normal)
