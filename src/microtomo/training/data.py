"""From a task's samples to batches: which numbers each device and each epoch get."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from microtomo.training.config import RunConfig
from microtomo.training.task import TrainingTask


class Consecutive(Sampler[int]):
    """Numbers ``first + rank``, ``first + rank + world``, ... of one epoch, for one of ``world`` devices."""

    def __init__(self, first: int, count: int, rank: int = 0, world: int = 1) -> None:
        self.numbers = range(first + rank, first + count // world * world, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


class RunData(pl.LightningDataModule):
    """Batches of a task; what is costly runs on the device that trains."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.task = task
        self.config: RunConfig = task.config

    @property
    def steps_of_epoch(self) -> int:
        """Optimiser steps of one epoch on each device."""
        each = max(1, len(self.task.samples(0)[1]) // self.config.devices)
        return math.ceil(each / min(self.config.optimiser.batch, each))

    def train_dataloader(self) -> DataLoader[Any]:
        """One epoch of samples: a loader of its own each epoch, which starts where the last one ended."""
        assert self.trainer is not None
        samples, numbers = self.task.samples(self.trainer.current_epoch)
        order = Consecutive(numbers.start, len(numbers), self.trainer.global_rank, self.trainer.world_size)
        return self._loader(samples, order, self.config.optimiser.batch)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The samples kept apart, the same every time."""
        if not self.config.validates:
            return []
        samples, numbers = self.task.held_out()
        batch = self.task.validation_batch or self.config.optimiser.batch
        return self._loader(samples, Consecutive(numbers.start, len(numbers)), batch)

    def _loader(self, samples: Any, order: Consecutive, batch: int) -> DataLoader[Any]:
        size = min(batch, max(1, len(order)))
        return DataLoader(samples, batch_size=size, sampler=order, num_workers=self.config.data.workers)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """What the task does to a batch on its device."""
        return self.task.prepared(batch, self.trainer is not None and self.trainer.training)


def turned(image: Tensor, symmetry: int) -> Tensor:
    """One of the eight symmetries of (..., y, x); images that are not square only get the four that keep the shape."""
    if image.shape[-1] != image.shape[-2]:
        symmetry = (symmetry & 1) * 2 + (symmetry & 4)
    image = image.rot90(symmetry % 4, (-2, -1))
    return image.flip(-1) if symmetry >= 4 else image
