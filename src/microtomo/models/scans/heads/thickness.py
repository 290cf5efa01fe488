"""Thickness as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import Stack
from microtomo.models.scans.calibration import Answered, answers, deviation_scales
from microtomo.models.scans.head import CalibrationScans, Head, all_converged, register_head
from microtomo.voxels import thickness_to_volume

if TYPE_CHECKING:
    from microtomo.models.scans.network import SemNetwork

DEVIATION_WEIGHT = 0.01
"""Weight of the deviation's own loss beside the thickness's: small, so that the thickness is fitted as published."""

SLACKS = torch.linspace(0, 0.02, 21)
"""Slacks that calibration tries, in shares of a layer's range."""


@register_head("published", volumetric=False)
class ThicknessHead(Head):
    """Thickness as published: sigmoid times the layer's range; a second channel a layer for the deviation.

    Output (n, 2 l, y, x). Buffers set by calibration: ``scale`` (l,) multiplies the deviation so that 95 % intervals
    hold 95 %; ``slack`` (l,) [nm] is added before a thickness is cut into voxels, so that 49.9 nm for 50 does not cost
    one.
    """

    range_nm: Tensor
    scale: Tensor
    slack: Tensor

    def __init__(self, stack: Stack, depth: int = 16, voxel_nm: float = 10.0, with_empty: bool = True) -> None:
        super().__init__(stack, depth, voxel_nm, with_empty)
        count = len(stack.layers)
        self.channels = 2 * count
        self.register_buffer("range_nm", torch.tensor(stack.max_nm))
        self.register_buffer("scale", torch.ones(count))
        self.register_buffer("slack", torch.zeros(count))

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Thickness and deviation before calibration, both (n, l, y, x) in shares of the range."""
        mean, deviation = output.float().chunk(2, 1)
        return mean.sigmoid(), nn.functional.softplus(deviation - 3) + 1e-4

    def loss(self, output: Tensor, thickness: Tensor, weights: Tensor) -> Tensor:
        """Squared error in shares of the range, and a little of the deviation's negative log-likelihood."""
        mean, deviation = self.moments(output)
        square = (mean - thickness / self.range_nm[:, None, None]) ** 2
        likelihood = square.detach() / (2 * deviation**2) + deviation.log()
        return ((square + DEVIATION_WEIGHT * likelihood) * weights[:, None, None]).mean()

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        top, scale, slack = (b[:, None, None] for b in (self.range_nm, self.scale, self.slack))
        mean, deviation = self.moments(output)
        thickness, deviation = mean * top, (deviation * scale).clamp_max(1) * top
        volume = thickness_to_volume((thickness + slack).clamp_min(0), problem.depth, problem.voxel_nm, problem.rule)
        return Estimate(thickness, deviation, volume, all_converged(signal))

    def calibrate(self, network: SemNetwork, source: CalibrationScans) -> None:
        """Scale at the usual noise level, and the slack that loses the fewest voxels."""
        self.scale.fill_(1)
        answered = list(answers(network, source))
        self.slack.copy_(best_slack(answered, self.range_nm.cpu()))
        self.scale.copy_(deviation_scales(answered))


def best_slack(answered: Sequence[Answered], range_nm: Tensor) -> Tensor:
    """Of SLACKS the one (l,) [nm] with which each layer, alone, has the fewest voxels wrong."""
    best = []
    for k, nm in enumerate(range_nm.tolist()):
        wrong = torch.zeros(len(SLACKS), dtype=torch.float64)
        for estimate, thickness, p in answered:
            truth = thickness_to_volume(thickness[:, k : k + 1], p.depth, p.voxel_nm, p.rule)
            for i, share in enumerate(SLACKS.tolist()):
                slackened = estimate.thickness[:, k : k + 1] + share * nm
                wrong[i] += (thickness_to_volume(slackened, p.depth, p.voxel_nm, p.rule) != truth).double().mean()
        best.append(SLACKS[int(wrong.argmin())] * nm)
    return torch.stack(best)
