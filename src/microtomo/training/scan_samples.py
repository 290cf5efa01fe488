"""Scans to train on, simulated as training goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from microtomo.physics.detector import Detector
from microtomo.physics.forward import ForwardModel
from microtomo.seeds import KIND, NOISE, Stream, derive_seed
from microtomo.simulate.samples import draw_structure
from microtomo.simulate.scans import record

if TYPE_CHECKING:
    from microtomo.training.scans import ScanRun


class ScanBatch(NamedTuple):
    """``signal`` (n, e, y, x), empty until it is simulated on the training device; ``thickness`` (n, l, y, x) [nm];
    ``noise`` (n,); ``seed`` (n,) of noise and symmetry."""

    signal: Tensor
    thickness: Tensor
    noise: Tensor
    seed: Tensor


class SimulatedScans(Dataset[ScanBatch]):
    """Sample i of a stream depends on (configuration, seed, stream, i) alone; there is no last one."""

    def __init__(self, config: ScanRun, stream: Stream) -> None:
        self.config, self.stream = config, stream

    def __getitem__(self, i: int) -> ScanBatch:
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
        return ScanBatch(torch.empty(0), thickness, torch.tensor(noise), torch.tensor(noise_seed))


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
