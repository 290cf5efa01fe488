"""Samples of a data set on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from microtomo.errors import MicrotomoError
from microtomo.io.nexus import INDEX
from microtomo.io.sources import open_scan
from microtomo.seeds import Stream, derive_seed
from microtomo.training.scan_samples import ScanBatch

if TYPE_CHECKING:
    from microtomo.training.scans import ScanRun


class StoredScans(Dataset[ScanBatch]):
    """One split of a data set that `microtomo generate` wrote, in an order of its own for each epoch.

    Raises MicrotomoError for a folder without that split, samples without thickness, another stack or forward model.
    """

    def __init__(self, config: ScanRun, split: str, epoch: int) -> None:
        assert config.data.path is not None
        self.path = index_of(config.data.path, split)
        network = config.network
        with open_scan(self.path) as source:
            self.count = source.samples or 0
            self.data, self.truth = source.data, source.truth
            stack, forward, noise = source.stack, source.forward, source.noise
            if source.truth is None or not self.count:
                raise MicrotomoError(
                    f"{self.path}: has no samples with known thickness: make it with `microtomo generate`"
                )
        if stack is not None and (stack.layers, stack.energies_kev) != (
            network.stack.layers,
            network.stack.energies_kev,
        ):
            raise MicrotomoError(
                f"{self.path}: its stack {stack.name} is not the network's: set network.stack={stack.name}"
            )
        if forward is not None and forward != network.forward:
            raise MicrotomoError(f"{self.path}: was made with forward model {forward}: set network.forward={forward}")
        self.noise = config.data.noise if noise is None else noise
        seed = derive_seed(config.seed, Stream.SHUFFLE, epoch, 0)
        self.order = np.random.Generator(np.random.Philox(key=seed)).permutation(self.count)
        self.seed, self.epoch = config.seed, epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> ScanBatch:
        number = int(self.order[i])
        part = slice(number, number + 1)
        signal, truth = (torch.as_tensor(array[part][0]).float() for array in (self.data, self.truth))
        seed = derive_seed(self.seed, Stream.SHUFFLE, self.epoch << 24 | number, 1) >> 1
        return ScanBatch(signal, truth, torch.tensor(self.noise), torch.tensor(seed))


def index_of(path: Path, split: str) -> Path:
    """The file that holds a split of a data set's folder, or the file itself."""
    if path.is_dir():
        file = path / split / INDEX
        if not file.is_file():
            raise MicrotomoError(
                f"{path}: has no split {split}: make it with `microtomo generate {path} --train 1000 --validation 100`"
            )
        return file
    return path
