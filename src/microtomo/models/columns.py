"""From voxel logits to columns of layers, and to the thickness inside their voxels."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from microtomo.materials import Stack
from microtomo.solvers.columns import most_probable_volume
from microtomo.solvers.problem import Problem
from microtomo.solvers.response import Grid

_STEPS = {1: 301, 2: 61, 3: 17, 4: 9}  # thicknesses of a layer that are weighed
_PIXELS = 16384


def column_counts(stack: Stack, depth: int, voxel_nm: float) -> list[tuple[int, ...]]:
    """All columns that a stack can fill: voxels of each layer, bottom to top, at most ``depth`` together."""
    most = [range(math.floor(nm / voxel_nm + 1e-6) + 1) for nm in stack.max_nm]
    return [counts for counts in product(*most) if sum(counts) <= depth]


def column_posterior(logits: Tensor, stack: Stack, voxel_nm: float) -> tuple[list[tuple[int, ...]], Tensor]:
    """Columns and their log-probabilities (n, columns, y, x), from voxel logits (n, layers + 1, z, y, x).

    A column's score is the sum of its voxels' log-probabilities: stacked layers cannot float, mix or leave holes.
    """
    classes, depth = logits.shape[1:3]
    columns = column_counts(stack, depth, voxel_nm)
    holds = logits.new_zeros((len(columns), classes, depth))
    for i, counts in enumerate(columns):
        bottom = 0
        for k, count in enumerate(counts):
            holds[i, k + 1, bottom : bottom + count] = 1
            bottom += count
        holds[i, 0, bottom:] = 1
    # voxels of a pixel side by side: one matrix product
    logs = logits.log_softmax(1).flatten(1, 2).movedim(1, -1).contiguous()
    scores = logs @ holds.flatten(1).T
    return columns, scores.log_softmax(-1).movedim(-1, 1).contiguous()


def refine_in_columns(
    columns: list[tuple[int, ...]], log_probability: Tensor, signal: Tensor, voxel_nm: float, problem: Problem
) -> tuple[Tensor, Tensor, Tensor]:
    """Thickness and deviation (n, l, y, x) [nm] and volume (n, z, y, x).

    The network says how probable each column is; where in its voxels a thickness lies is what the scan (n, e, y, x)
    itself says (likelihood over a grid, flat prior inside a column).
    """
    steps = _STEPS[len(problem.stack.layers)]
    levels = [torch.linspace(0, nm, steps, dtype=torch.float64) for nm in problem.stack.max_nm]
    grid = Grid(levels, problem.stack, problem.contrast)
    voxels = torch.floor(grid.thickness / voxel_nm + 1e-6).long()
    number = {counts: i for i, counts in enumerate(columns)}
    belongs = torch.tensor([number.get(tuple(v), -1) for v in voxels.T.tolist()])
    kept = torch.nonzero(belongs >= 0)[:, 0]
    belongs = belongs[kept].to(signal.device)
    at = grid.thickness[:, kept].to(signal)
    n, _, y, x = signal.shape
    spectra, logs = signal.flatten(2), log_probability.flatten(2)
    results = []
    for i in range(n):
        parts = []
        for first in range(0, y * x, _PIXELS):
            part = slice(first, first + _PIXELS)
            score = -grid.misfit(spectra[i, :, part], float(problem.noise[i]))[:, kept].float()
            p = _inside(score, belongs, len(columns)).mul_(logs[i, :, part].T.exp()[:, belongs])
            p = p / p.sum(1, keepdim=True).clamp_min(1e-30)
            mean = p @ at.T
            spread = (p @ (at**2).T - mean**2).clamp_min(1e-8).sqrt()
            parts.append((mean.T, spread.T, most_probable_volume(p, at, problem)))
        results.append([torch.cat(field, 1) for field in zip(*parts, strict=True)])
    thickness, deviation, volume = (torch.stack(field) for field in zip(*results, strict=True))
    return (
        thickness.reshape(n, -1, y, x),
        deviation.reshape(n, -1, y, x),
        volume.reshape(n, problem.depth, y, x),
    )


def _inside(score: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax of scores (p, L) within each group of labels (L,)."""
    index = group.expand(len(score), -1)
    top = score.new_full((len(score), groups), -torch.inf).scatter_reduce(1, index, score, "amax")
    p = (score - top.gather(1, index)).exp_()
    total = p.new_zeros((len(score), groups)).scatter_add_(1, index, p)
    return p.div_(total.gather(1, index))
