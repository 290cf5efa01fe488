"""A posterior over levels of thickness."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import Stack
from microtomo.models.scans.calibration import calibrate_weighing
from microtomo.models.scans.evidence import Levels, Weighing, weigh
from microtomo.models.scans.head import CalibrationScans, Head, all_converged, register_head

if TYPE_CHECKING:
    from microtomo.models.scans.network import SemNetwork

MOST_LEVELS = 30
"""Levels that a layer has at most, beside zero: 0.5 nm of 15 nm gold, 5 nm of 150 nm aluminium."""

LEAST_PROBABILITY = 1e-12
"""Probability that no network can deny a level."""

STRUCTURES_A_SAMPLE = 4
"""Structures that the means of levels are taken over, for each scan that error bars are set on."""


@register_head("posterior", volumetric=False)
class LevelsHead(Head):
    """A probability for each level of each layer's thickness: output (n, sum of levels, y, x) logits.

    Levels are whole steps of ``step_nm``; level i stands for thicknesses from i to i + 1 steps, so that a voxel's
    face is never inside one. ``value`` [nm] is the mean thickness that a level stands for, learnt from what it held
    in structures as in training; ``weighing`` says how the scan itself counts beside the network (both from
    calibration).
    """

    value: Tensor

    def __init__(self, stack: Stack, depth: int = 16, voxel_nm: float = 10.0, with_empty: bool = True) -> None:
        super().__init__(stack, depth, voxel_nm, with_empty)
        self.step_nm = [level_step(nm) for nm in stack.max_nm]
        self.counts = [math.floor(nm / step + 1e-6) + 1 for nm, step in zip(stack.max_nm, self.step_nm, strict=True)]
        self.channels = sum(self.counts)
        steps = zip(self.counts, self.step_nm, strict=True)
        self.register_buffer("value", torch.cat([torch.arange(n) * step for n, step in steps]))
        self.weighing = Weighing(len(self.counts))

    def index(self, thickness: Tensor) -> Tensor:
        """Level (n, l, y, x) int64 that each thickness [nm] lies in."""
        step = torch.tensor(self.step_nm).to(thickness)[:, None, None]
        top = torch.tensor(self.counts, device=thickness.device)[:, None, None] - 1
        return torch.minimum((thickness / step + 1e-4).long(), top)

    def loss(self, output: Tensor, thickness: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy."""
        index = self.index(thickness)
        # one row a pixel: levels side by side in memory are several times as fast as levels far apart
        parts = torch.split(output.movedim(1, -1).flatten(0, -2).float(), self.counts, 1)
        each = [functional.cross_entropy(logits, index[:, k].flatten()) for k, logits in enumerate(parts)]
        return (torch.stack(each) * weights).mean()

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        floor = [torch.arange(n) * step for n, step in zip(self.counts, self.step_nm, strict=True)]
        value = [v.cpu().double() for v in torch.split(self.value, self.counts)]
        levels, into = Levels([torch.cat([v[:1] * 0, v[1:]]) for v in value], floor).coarse()
        settings = [self.weighing.at(float(noise)) for noise in problem.noise]
        logs = []
        for logits, number, count in zip(torch.split(output.float(), self.counts, 1), into, levels.shape, strict=True):
            p = logits.softmax(1).flatten(2)
            fewer = p.new_zeros((p.shape[0], count, p.shape[2])).index_add_(1, number.to(p.device), p)
            logs.append(fewer.clamp_min(LEAST_PROBABILITY).log())

        log, hot = torch.cat(logs, 1), levels.indicators().to(output.device)

        def opinion(i: int, part: slice, misfit: Tensor) -> Tensor:
            """Layers are independent to the network; what ties them together is the scan."""
            return misfit.addmm_(log[i, :, part].T, hot, beta=-settings[i][0])

        votes = [votes for _, votes in settings]
        thickness, deviation, volume = weigh(opinion, levels, signal, problem, votes)
        return Estimate(thickness, self.weighing.scaled(deviation, problem), volume, all_converged(signal))

    def calibrate(self, network: SemNetwork, source: CalibrationScans) -> None:
        """Mean thickness of the levels, then how the scan counts, then the width of error bars."""
        self.value.copy_(self._means(source))
        calibrate_weighing(self.weighing, self.estimate, network, source)

    def _means(self, source: CalibrationScans) -> Tensor:
        """Mean thickness of each level over structures as in training; a level that never came keeps its middle."""
        total, count = torch.zeros(self.channels, dtype=torch.float64), torch.zeros(self.channels, dtype=torch.float64)
        for thickness in source.thickness(STRUCTURES_A_SAMPLE * source.samples):
            first = 0
            for k, levels in enumerate(self.counts):
                at = self.index(thickness)[0, k].flatten() + first
                total.index_add_(0, at, thickness[0, k].flatten().double())
                count.index_add_(0, at, torch.ones_like(at, dtype=torch.float64))
                first += levels
        middle = [(torch.arange(n) + 0.5) * step for n, step in zip(self.counts, self.step_nm, strict=True)]
        return torch.where(count > 0, total / count.clamp_min(1), torch.cat(middle).double()).float()


def level_step(max_nm: float) -> float:
    """Width [nm] of a level of a layer: the least of 1, 2.5, 5 times a power of ten that leaves 30 levels or fewer."""
    power = 10.0 ** math.floor(math.log10(max_nm / MOST_LEVELS))
    return next(power * m for m in (1, 2.5, 5, 10) if max_nm / (power * m) <= MOST_LEVELS + 1e-6)
