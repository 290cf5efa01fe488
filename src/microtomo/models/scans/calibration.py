"""What heads share in calibration: error bars of the right width, and how much the scan counts beside the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from microtomo.inverse.problem import Estimate, Problem
from microtomo.metrics import voxel_scores
from microtomo.models.scans.evidence import NOISES, Weighing
from microtomo.models.scans.head import CalibrationScans
from microtomo.voxels import thickness_to_volume

if TYPE_CHECKING:
    from microtomo.models.scans.network import SemNetwork

TERRACES = {"perlin": 1.0}
"""Structures that error bars are set on: Perlin terraces, as published."""

MIXED = {"perlin": 0.5, "pads": 0.25, "continuous": 0.25}
"""Structures that trust and votes are chosen on."""

TRUSTS = (0.1, 0.3, 1.0)
"""Exponents of the scan's likelihood that are tried."""

INSIDE, HALF_WIDTH = 0.95, 1.96
"""Share of the pixels that lie within so many deviations."""

_MOST_RATIOS = 1_000_000  # of which a quantile is taken


class Answered(NamedTuple):
    """A network's estimate (1, ...) of a scan on the CPU, the thickness (1, l, y, x) [nm] there, and the problem."""

    estimate: Estimate
    thickness: Tensor
    problem: Problem


def answers(network: SemNetwork, source: CalibrationScans, noise: float | None = None) -> Iterator[Answered]:
    """Estimates of Perlin terraces, one by one, at the usual relative noise or at another."""
    device = next(network.parameters()).device
    for signal, thickness, problem in source.scans(source.samples, noise, TERRACES):
        e = network.estimate(signal.to(device), problem)
        on_cpu = Estimate(*(field.cpu() for field in (e.thickness, e.uncertainty, e.volume, e.converged)))
        yield Answered(on_cpu, thickness, problem)


def deviation_scales(answered: Sequence[Answered]) -> Tensor:
    """Factor (l,) of each layer's deviation with which 95 % of the pixels are inside 1.96 of it."""
    scales = []
    for k in range(answered[0].thickness.shape[1]):
        error = torch.cat([(a.estimate.thickness[:, k] - a.thickness[:, k]).abs().flatten() for a in answered])
        deviation = torch.cat([a.estimate.uncertainty[:, k].flatten() for a in answered])
        ratio = (error / deviation.clamp_min(1e-9)).double()
        ratio = ratio[:: max(1, len(ratio) // _MOST_RATIOS)]
        scales.append(float(torch.quantile(ratio, INSIDE)) / HALF_WIDTH)
    return torch.tensor(scales)


def calibrate_weighing(
    weighing: Weighing,
    estimate: Callable[[Tensor, Tensor, Problem], Estimate],
    network: SemNetwork,
    source: CalibrationScans,
) -> None:
    """Set trust, votes and scales of a head's weighing for each of NOISES; ``estimate`` is the head's own."""
    for row, noise in enumerate(NOISES):
        _choose(weighing, row, estimate, network, source, noise)
    weighing.scale.fill_(1)
    scales = [deviation_scales(list(answers(network, source, noise))) for noise in NOISES]
    weighing.scale.copy_(torch.stack(scales))


def _choose(
    weighing: Weighing,
    row: int,
    estimate: Callable[[Tensor, Tensor, Problem], Estimate],
    network: SemNetwork,
    source: CalibrationScans,
    noise: float,
) -> None:
    """Votes of the layers under full trust in the scan, then how much trust, with the highest mean IoU."""
    classes = ["empty", *network.config.stack.symbols]
    device = next(network.parameters()).device
    outputs, volumes = [], []
    for signal, thickness, problem in source.scans(source.few, noise, MIXED):
        signal = signal.to(device)
        outputs.append((network(signal, problem.noise.to(signal)), signal, problem))
        volumes.append(thickness_to_volume(thickness, problem.depth, problem.voxel_nm, problem.rule))
    truth = torch.cat(volumes)

    def choose(target: Tensor, options: Iterable[float | Sequence[float]]) -> None:
        scores = {}
        for option in options:
            target.copy_(torch.tensor(option))
            estimated = torch.cat([estimate(*each).volume.cpu() for each in outputs])
            scores[option] = voxel_scores(estimated, truth, classes).miou
        target.copy_(torch.tensor(max(scores, key=scores.__getitem__)))

    weighing.trust[row].fill_(1)
    choose(weighing.votes[row], product((0.0, 1.0), repeat=weighing.votes.shape[1]))
    choose(weighing.trust[row], TRUSTS)
