"""Training of networks for scans: voxels of simulated or stored scans, scored by mIoU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from microtomo.errors import MicrotomoError
from microtomo.inverse.problem import Problem
from microtomo.metrics import voxel_scores
from microtomo.models.scans.head import KnownScan
from microtomo.models.scans.network import NetworkConfig, SemNetwork
from microtomo.seeds import Stream
from microtomo.simulate.structures import StructureMix
from microtomo.training.config import Count, RunConfig, Samples, Share
from microtomo.training.data import turned
from microtomo.training.scan_samples import ScanBatch, SimulatedScans, simulate
from microtomo.training.stored import StoredScans
from microtomo.training.task import TrainingTask, trains
from microtomo.voxels import thickness_to_volume

CALIBRATION_SAMPLES = 64
"""Scans that error bars are set on: a million pixels of each layer at the default size."""
CHOICE_SAMPLES = 8
"""Scans a noise level that votes and trust are chosen on: enough to tell them apart, and quick."""


class ScanData(Samples):
    """Where scans come from.

    Simulated as training goes, or read from ``path``, a data set of `microtomo generate`. ``structures``: kinds with
    their weights. The noise level of a sample is ``noise`` with probability ``noise_share``, else drawn from
    ``noise_range``, evenly in its logarithm. ``epoch``: samples of an epoch; ``validation``: samples scored after it.
    """

    path: Path | None = None
    structures: StructureMix = Field(default_factory=lambda: {"perlin": 0.6, "lithography": 0.3, "continuous": 0.1})
    height: Annotated[int, Field(ge=8, le=4096)] = 128
    width: Annotated[int, Field(ge=8, le=4096)] = 128
    noise: Share = 0.02
    noise_share: Share = 0.5
    noise_range: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.01, 0.12)
    validation: Count = 24
    symmetries: bool = True


class ScanRun(RunConfig):
    """A training run of a network for scans."""

    metric, score, source = "miou", "mIoU", "data.path"

    network: NetworkConfig
    data: ScanData = ScanData()


@trains(NetworkConfig)
class ScanTraining(TrainingTask):
    """Scans in, what the network's head stands for out; scored by voxel mIoU (published protocol)."""

    run = ScanRun
    config: ScanRun

    def __init__(self, config: ScanRun, images: None = None) -> None:
        super().__init__(config)
        self.weights = layer_weights(config)

    def samples(self, epoch: int) -> tuple[Dataset[ScanBatch], range]:
        data = self.config.data
        if data.path is None:
            return SimulatedScans(self.config, Stream.TRAINING), range(epoch * data.epoch, (epoch + 1) * data.epoch)
        stored = StoredScans(self.config, "train", epoch)
        return stored, range(min(len(stored), data.epoch))

    def held_out(self) -> tuple[Dataset[ScanBatch], range]:
        data = self.config.data
        if data.path is None:
            return SimulatedScans(self.config, Stream.TRAINING_VALIDATION), range(data.validation)
        stored = StoredScans(self.config, "validation", 0)
        return stored, range(min(len(stored), data.validation))

    @property
    def described(self) -> dict[str, Any]:
        return self.config.data.model_dump(mode="json")

    def prepared(self, batch: ScanBatch, training: bool) -> ScanBatch:
        """Simulates the scans, and turns each sample by one of the eight symmetries of the square."""
        signal, thickness, noise, seed = batch
        network = self.config.network
        if signal.numel() == 0:
            signal = simulate(thickness, noise, seed, network.forward_model)
        if self.config.data.symmetries and training:
            turns = (seed % 8).tolist()
            signal = torch.stack([turned(s, t) for s, t in zip(signal, turns, strict=True)])
            thickness = torch.stack([turned(d, t) for d, t in zip(thickness, turns, strict=True)])
        return ScanBatch(signal, thickness, noise, seed)

    def loss(self, network: SemNetwork, batch: ScanBatch) -> Tensor:
        return network.loss(batch.signal, batch.noise, batch.thickness, self.weights.to(batch.thickness))

    def assess(self, network: SemNetwork, batch: ScanBatch) -> tuple[Tensor, Tensor]:
        """Loss with equal weights; the sum of the samples' mIoU, and the samples."""
        shape = network.config
        problem = Problem(shape.forward_model, batch.noise.cpu(), shape.depth, shape.voxel_nm)
        with torch.autocast(batch.signal.device.type, enabled=False):  # as reconstruct does it
            volume = network.estimate(batch.signal, problem).volume
        truth = thickness_to_volume(batch.thickness, problem.depth, problem.voxel_nm, problem.rule)
        miou = voxel_scores(volume.cpu(), truth.cpu(), ["empty", *shape.stack.symbols]).miou
        count = len(batch.noise)
        loss = network.loss(batch.signal, batch.noise, batch.thickness)
        return loss, torch.tensor([miou * count, count], dtype=torch.float64)

    def score(self, counts: Tensor) -> Tensor:
        return counts[0] / counts[1]

    def finish(self, network: SemNetwork) -> None:
        """Calibrates the network's head."""
        network.calibrate(SimulatedCalibration(self.config))


def layer_weights(config: ScanRun) -> Tensor:
    """Weights (l,) of the layers in the loss, 1 on average. Raises MicrotomoError where their number does not fit."""
    layers, given = len(config.network.stack.layers), config.optimiser.layer_weights
    if given is None:
        return torch.ones(layers)
    if len(given) != layers:
        raise MicrotomoError(f"{len(given)} layer weights for {layers} layers: give one each")
    return torch.tensor(given) * layers / sum(given)


class SimulatedCalibration:
    """Scans of known structures for a network's calibration (:class:`microtomo.models.scans.head.CalibrationScans`)."""

    def __init__(self, config: ScanRun, samples: int = CALIBRATION_SAMPLES) -> None:
        self.config, self.samples = config, samples
        self.few = min(samples, config.data.validation, CHOICE_SAMPLES)

    def scans(
        self, samples: int, noise: float | None = None, structures: Mapping[str, float] | None = None
    ) -> Iterator[KnownScan]:
        shape = self.config.network
        for thickness, usual, seed in self._drawn(samples, structures):
            level = usual if noise is None else torch.full_like(usual, noise)
            signal = simulate(thickness, level, seed, shape.forward_model)
            problem = Problem(shape.forward_model, level, shape.depth, shape.voxel_nm)
            yield KnownScan(signal, thickness, problem)

    def thickness(self, samples: int) -> Iterator[Tensor]:
        return (thickness for thickness, _, _ in self._drawn(samples, None))

    def _drawn(self, samples: int, structures: Mapping[str, float] | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        data = self.config.data
        data = data if structures is None else data.model_copy(update={"structures": dict(structures)})
        source = SimulatedScans(self.config.model_copy(update={"data": data}), Stream.CALIBRATION)
        for i in range(samples):
            _, thickness, noise, seed = source[i]
            yield thickness[None], noise[None], seed[None]
