"""What the last layer of a network means: thickness, levels of thickness, or voxels; and how sure it is of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from microtomo.inverse.misfit import combinations
from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import Stack
from microtomo.models.scans.columns import column_index, column_posterior
from microtomo.models.scans.evidence import Levels, Weighing, evidence_within, weigh
from microtomo.voxels import thickness_to_volume

_FINEST = 30  # levels that a layer has at most, beside zero
_STEPS = {1: 301, 2: 31, 3: 17, 4: 9}  # thicknesses of a layer that columns of voxels are weighed at
_LEAST = 1e-12  # probability that no network can deny


class ThicknessHead(nn.Module):
    """Thickness as published: sigmoid times the layer's range; a second channel a layer for the deviation.

    Output (n, 2 l, y, x). Buffers set by calibration on validation seeds: ``scale`` (l,) multiplies the deviation
    so that 95 % intervals hold 95 %; ``slack`` (l,) [nm] is added before a thickness is cut into voxels, so that
    49.9 nm for 50 does not cost one.
    """

    range_nm: Tensor
    scale: Tensor
    slack: Tensor

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        count = len(stack.layers)
        self.channels = 2 * count
        self.register_buffer("range_nm", torch.tensor(stack.max_nm))
        self.register_buffer("scale", torch.ones(count))
        self.register_buffer("slack", torch.zeros(count))

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Thickness and deviation before calibration, both (n, l, y, x) in shares of the range."""
        mean, spread = output.float().chunk(2, 1)
        return mean.sigmoid(), nn.functional.softplus(spread - 3) + 1e-4

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""
        top, scale, slack = (b[:, None, None] for b in (self.range_nm, self.scale, self.slack))
        mean, spread = self.moments(output)
        thickness, deviation = mean * top, (spread * scale).clamp_max(1) * top
        volume = thickness_to_volume((thickness + slack).clamp_min(0), problem.depth, problem.voxel_nm, problem.rule)
        return Estimate(thickness, deviation, volume, _all_converged(signal))


class LevelsHead(nn.Module):
    """A probability for each level of each layer's thickness: output (n, sum of levels, y, x) logits.

    Levels are whole steps of ``step_nm``; level i stands for thicknesses from i to i + 1 steps, so that a voxel's
    face is never inside one. ``value`` [nm] is the mean thickness that a level stands for, learnt from what it held
    in training; ``weighing`` says how the scan itself counts beside the network (both from calibration on
    validation seeds).
    """

    value: Tensor

    def __init__(self, stack: Stack) -> None:
        super().__init__()
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

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""
        floor = [torch.arange(n) * step for n, step in zip(self.counts, self.step_nm, strict=True)]
        value = [v.cpu().double() for v in torch.split(self.value, self.counts)]
        levels, into = Levels([torch.cat([v[:1] * 0, v[1:]]) for v in value], floor).coarse()
        settings = [self.weighing.at(float(noise)) for noise in problem.noise]
        logs = []
        for logits, number, count in zip(torch.split(output.float(), self.counts, 1), into, levels.shape, strict=True):
            p = logits.softmax(1).flatten(2)
            fewer = p.new_zeros((p.shape[0], count, p.shape[2])).index_add_(1, number.to(p.device), p)
            logs.append(fewer.clamp_min(_LEAST).log())

        log, hot = torch.cat(logs, 1), levels.indicators().to(output.device)

        def opinion(i: int, part: slice, misfit: Tensor) -> Tensor:
            """Layers are independent to the network; what ties them together is the scan."""
            return misfit.addmm_(log[i, :, part].T, hot, beta=-settings[i][0])

        votes = [votes for _, votes in settings]
        thickness, deviation, volume = weigh(opinion, levels, signal, problem, votes)
        return Estimate(thickness, self.weighing.scaled(deviation, problem), volume, _all_converged(signal))


class VoxelHead(nn.Module):
    """A label for each voxel: output (n, c, z, y, x), read as whole columns of layers in their order.

    ``with_empty``: c = layers + 1 logits with "empty" first (UNet-to-3d); else c = layers values and a voxel whose
    values are all below 0.5 is empty (hybrid UVNet). Where in its voxels a thickness lies is what the scan itself
    says. ``weighing`` says how the scan counts beside the network (from calibration on validation seeds).
    """

    def __init__(self, stack: Stack, depth: int, voxel_nm: float, with_empty: bool) -> None:
        super().__init__()
        self.depth, self.voxel_nm, self.with_empty = depth, voxel_nm, with_empty
        self.channels = len(stack.layers) + with_empty
        self.weighing = Weighing(len(stack.layers))

    def logits(self, output: Tensor) -> Tensor:
        """Logits (n, layers + 1, z, y, x) with "empty" first: a value of 0.5 is as likely as empty."""
        output = output.float()
        return output if self.with_empty else torch.cat([torch.full_like(output[:, :1], 0.5), output], 1)

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""
        steps = _STEPS[len(problem.stack.layers)]
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
        return Estimate(thickness, self.weighing.scaled(deviation, problem), volume, _all_converged(signal))


def level_step(max_nm: float) -> float:
    """Width [nm] of a level of a layer: the least of 1, 2.5, 5 times a power of ten that leaves 30 levels or fewer."""
    power = 10.0 ** math.floor(math.log10(max_nm / _FINEST))
    return next(power * m for m in (1, 2.5, 5, 10) if max_nm / (power * m) <= _FINEST + 1e-6)


def _all_converged(signal: Tensor) -> Tensor:
    return torch.ones_like(signal[:, 0], dtype=torch.bool)
