"""What the last layer of a network means: thickness, levels of thickness, or voxels; and how sure it is of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from microtomo.materials import Stack
from microtomo.models.columns import column_posterior, refine_in_columns
from microtomo.solvers.problem import Estimate, Problem
from microtomo.voxels import thickness_to_volume

_ROUNDS = 15  # of voting
_FINEST = 30  # levels that a layer has at most, beside zero


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
    in training; ``scale`` (l,) multiplies the deviation; ``votes`` (l,) is 1 where a layer's pixels vote on the
    levels that the image holds before its voxels are filled (all three from calibration on validation seeds).
    """

    value: Tensor
    scale: Tensor
    votes: Tensor

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.step_nm = [level_step(nm) for nm in stack.max_nm]
        self.counts = [math.floor(nm / step + 1e-6) + 1 for nm, step in zip(stack.max_nm, self.step_nm, strict=True)]
        self.channels = sum(self.counts)
        steps = zip(self.counts, self.step_nm, strict=True)
        self.register_buffer("value", torch.cat([torch.arange(n) * step for n, step in steps]))
        self.register_buffer("scale", torch.ones(len(self.counts)))
        self.register_buffer("votes", torch.zeros(len(self.counts)))

    def index(self, thickness: Tensor) -> Tensor:
        """Level (n, l, y, x) int64 that each thickness [nm] lies in."""
        step = torch.tensor(self.step_nm).to(thickness)[:, None, None]
        top = torch.tensor(self.counts, device=thickness.device)[:, None, None] - 1
        return torch.minimum((thickness / step + 1e-4).long(), top)

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""
        thickness, deviation, stacked = [], [], []
        for k, (logits, value) in enumerate(
            zip(torch.split(output.float(), self.counts, 1), torch.split(self.value, self.counts), strict=True)
        ):
            p = logits.softmax(1)
            mean = torch.einsum("nkyx,k->nyx", p, value)
            square = torch.einsum("nkyx,k->nyx", p, value**2)
            # what is left when a level is sure: the width of the level itself
            inside = (1 - p[:, 0]) * self.step_nm[k] ** 2 / 48
            # a layer that is probably absent is absent: in the published contrast a trace of it is a jump
            best = torch.where(p[:, 0] > 0.5, 0.0, mean / (1 - p[:, 0]).clamp_min(0.5))
            thickness.append(best)
            spread = ((square - 2 * best * mean + best**2).clamp_min(0) + inside).sqrt() * self.scale[k]
            deviation.append(spread.clamp(1e-4, problem.stack.max_nm[k]))
            stacked.append(_likeliest(voted(p) if bool(self.votes[k] > 0) else p, value, self.step_nm[k], problem))
        volume = thickness_to_volume(torch.stack(stacked, 1), problem.depth, problem.voxel_nm, problem.rule)
        return Estimate(torch.stack(thickness, 1), torch.stack(deviation, 1), volume, _all_converged(signal))


class VoxelHead(nn.Module):
    """A label for each voxel: output (n, c, z, y, x), read as whole columns of layers in their order.

    ``with_empty``: c = layers + 1 logits with "empty" first (UNet-to-3d); else c = layers values and a voxel whose
    values are all below 0.5 is empty (hybrid UVNet). Thickness inside the voxels comes from the scan's own
    likelihood. ``scale`` (l,) multiplies the deviation (calibration on validation seeds).
    """

    scale: Tensor

    def __init__(self, stack: Stack, depth: int, voxel_nm: float, with_empty: bool) -> None:
        super().__init__()
        self.depth, self.voxel_nm, self.with_empty = depth, voxel_nm, with_empty
        self.channels = len(stack.layers) + with_empty
        self.register_buffer("scale", torch.ones(len(stack.layers)))

    def logits(self, output: Tensor) -> Tensor:
        """Logits (n, layers + 1, z, y, x) with "empty" first: a value of 0.5 is as likely as empty."""
        output = output.float()
        return output if self.with_empty else torch.cat([torch.full_like(output[:, :1], 0.5), output], 1)

    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""
        columns, probability = column_posterior(self.logits(output), problem.stack, self.voxel_nm)
        thickness, deviation, volume = refine_in_columns(columns, probability, signal, self.voxel_nm, problem)
        top = thickness.new_tensor(problem.stack.max_nm)[:, None, None]
        deviation = torch.minimum(deviation * self.scale[:, None, None], top)
        return Estimate(thickness, deviation, volume, _all_converged(signal))


def level_step(max_nm: float) -> float:
    """Width [nm] of a level of a layer: the least of 1, 2.5, 5 times a power of ten that leaves 30 levels or fewer."""
    power = 10.0 ** math.floor(math.log10(max_nm / _FINEST))
    return next(power * m for m in (1, 2.5, 5, 10) if max_nm / (power * m) <= _FINEST + 1e-6)


def voted(p: Tensor) -> Tensor:
    """Probabilities (n, level, y, x) after all pixels of an image voted on how frequent its levels are.

    A sample holds few thicknesses, often in many places: the frequencies that explain all pixels best (expectation
    maximisation for the weights of a mixture; Dempster, Laird & Rubin 1977) settle what each pixel leaves open.
    """
    share = torch.full_like(p[:, :, :1, :1], 1 / p.shape[1])
    for _ in range(_ROUNDS):
        weighted = p * share
        share = (weighted / weighted.sum(1, keepdim=True).clamp_min(1e-30)).mean((2, 3), keepdim=True)
    weighted = p * share
    return weighted / weighted.sum(1, keepdim=True).clamp_min(1e-30)


def _likeliest(p: Tensor, value: Tensor, step_nm: float, problem: Problem) -> Tensor:
    """Thickness (n, y, x) [nm] with the most probable number of voxels; inside it, the most probable level."""
    if problem.rule != "floor":
        return value[p.argmax(1)]
    voxels = torch.floor(torch.arange(p.shape[1], device=p.device) * step_nm / problem.voxel_nm + 1e-4).long()
    each = p.new_zeros((p.shape[0], int(voxels[-1]) + 1, *p.shape[2:])).index_add_(1, voxels, p)
    return (each.argmax(1) + 1e-3) * problem.voxel_nm


def _all_converged(signal: Tensor) -> Tensor:
    return torch.ones_like(signal[:, 0], dtype=torch.bool)
