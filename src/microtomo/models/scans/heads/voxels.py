"""A label for each voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from microtomo.inverse.misfit import combinations
from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import Stack
from microtomo.models.scans.calibration import calibrate_weighing
from microtomo.models.scans.columns import column_index, column_posterior
from microtomo.models.scans.evidence import Levels, Weighing, evidence_within, weigh
from microtomo.models.scans.head import CalibrationScans, Head, all_converged, register_head
from microtomo.voxels import thickness_to_volume

if TYPE_CHECKING:
    from microtomo.models.scans.network import SemNetwork

STEPS = {1: 301, 2: 31, 3: 17, 4: 9}
"""Thicknesses of a layer that columns of voxels are weighed at, by the number of layers: some thousands together."""


@register_head("published", volumetric=True)
class VoxelHead(Head):
    """A label for each voxel: output (n, c, z, y, x), read as whole columns of layers in their order.

    ``with_empty``: c = layers + 1 logits with "empty" first (UNet-to-3d); else c = layers values and a voxel whose
    values are all below 0.5 is empty (hybrid UVNet). Where in its voxels a thickness lies is what the scan itself
    says. ``weighing`` says how the scan counts beside the network (from calibration).
    """

    def __init__(self, stack: Stack, depth: int = 16, voxel_nm: float = 10.0, with_empty: bool = True) -> None:
        super().__init__(stack, depth, voxel_nm, with_empty)
        self.channels = len(stack.layers) + with_empty
        self.weighing = Weighing(len(stack.layers))

    def logits(self, output: Tensor) -> Tensor:
        """Logits (n, layers + 1, z, y, x) with "empty" first: a value of 0.5 is as likely as empty."""
        output = output.float()
        return output if self.with_empty else torch.cat([torch.full_like(output[:, :1], 0.5), output], 1)

    def loss(self, output: Tensor, thickness: Tensor, weights: Tensor) -> Tensor:
        """Squared error against one-hot voxels, as published; layers count alike."""
        truth = thickness_to_volume(thickness, self.depth, self.voxel_nm).long()
        hot = functional.one_hot(truth, self.channels + (not self.with_empty)).movedim(-1, 1).float()
        if self.with_empty:
            return functional.mse_loss(output.float().softmax(1), hot)
        return functional.mse_loss(output.float(), hot[:, 1:])

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        steps = STEPS[len(problem.stack.layers)]
        ladder = [torch.linspace(0, nm, steps, dtype=torch.float64) for nm in problem.stack.max_nm]
        levels = Levels(ladder, ladder)
        columns, logs = column_posterior(self.logits(output), problem.stack, self.voxel_nm)
        held = (
            column_index(combinations(ladder)[None, :, None], columns, self.depth, self.voxel_nm)
            .flatten()
            .to(output.device)
        )
        flat = logs.flatten(2)
        settings = [self.weighing.at(float(noise)) for noise in problem.noise]

        def opinion(i: int, part: slice, misfit: Tensor) -> Tensor:
            """The network's column; inside it, and by trust between columns, the scan."""
            score = misfit.neg_()
            within = evidence_within(score, held, len(columns))
            return score.add_((flat[i, :, part].T - (1 - settings[i][0]) * within)[:, held])

        votes = [votes for _, votes in settings]
        thickness, deviation, volume = weigh(opinion, levels, signal, problem, votes)
        return Estimate(thickness, self.weighing.scaled(deviation, problem), volume, all_converged(signal))

    def calibrate(self, network: SemNetwork, source: CalibrationScans) -> None:
        """How the scan counts, then the width of error bars."""
        calibrate_weighing(self.weighing, self.estimate, network, source)


@register_head("posterior", volumetric=True)
class ColumnHead(VoxelHead):
    """A label for each voxel, learnt as whole columns of layers."""

    def loss(self, output: Tensor, thickness: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy of whole columns; layers count alike."""
        columns, logs = column_posterior(self.logits(output), self.stack, self.voxel_nm)
        return functional.nll_loss(logs, column_index(thickness, columns, self.depth, self.voxel_nm))
