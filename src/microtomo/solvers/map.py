"""Spatial maximum a posteriori: neighbours help, edges stay."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from scipy.stats import chi2
from torch import Tensor

from microtomo.registry import register
from microtomo.solvers.columns import most_probable_volume
from microtomo.solvers.field import beliefs, energy, joint_cost, without
from microtomo.solvers.levels import Blocks, find_levels, homogeneous_blocks, refine_levels, starting_grid
from microtomo.solvers.problem import Estimate, Problem
from microtomo.solvers.response import Grid


@register(
    "map",
    task="sem",
    citation="Rau & Reimer, Scanning 23 (2001) 235 (signal); sum-product belief propagation (Pearl 1988) over "
    "thickness levels learnt by a sparse mixture (Figueiredo & Jain 2002)",
)
def solve_map(
    signal: Tensor, problem: Problem, *, jump: float = 2.0, most: float = 6.0, level_price: float = 12.0
) -> Estimate:
    """Maximum a posteriori with a discontinuity-preserving prior and thickness levels learnt from the scan.

    ``jump`` and ``most`` (in nats) price a step between neighbours by one level and by any number; ``level_price``
    is what a level must gain in likelihood to exist.
    """
    parts = [
        _solve(sample, problem, float(problem.noise[i]), jump, most, level_price) for i, sample in enumerate(signal)
    ]
    return Estimate(*(torch.stack(field) for field in zip(*parts, strict=True)))


def _solve(
    observed: Tensor, problem: Problem, noise: float, jump: float, most: float, level_price: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    e, height, width = observed.shape
    coarse = starting_grid(problem.stack, problem.contrast)
    blocks = homogeneous_blocks(observed, coarse, noise)
    grid = find_levels(blocks, coarse, noise)
    pixels = observed.flatten(1)

    def misfit(grid: Grid) -> Tensor:
        return grid.misfit(pixels, noise).float().reshape(height, width, -1)

    cost = misfit(grid)
    belief = beliefs(cost, joint_cost(grid.shape, jump, most), 2)
    while True:
        drop = _needless(cost, belief, grid, jump, most, level_price)
        if not drop:
            break
        kept = [
            [i for i in range(count) if (k, i) not in drop] for k, count in enumerate(grid.shape)
        ]
        grid = Grid([v[i] for v, i in zip(grid.levels, kept, strict=True)], problem.stack, problem.contrast)
        belief = beliefs(misfit(grid), joint_cost(grid.shape, jump, most), 1)
        grid, _ = _refined(pixels, belief, grid, noise)
        cost = misfit(grid)
        belief = beliefs(cost, joint_cost(grid.shape, jump, most), 2)
    grid, deviation = _refined(pixels, belief, grid, noise)
    cost = misfit(grid)
    belief = beliefs(cost, joint_cost(grid.shape, jump, most), 3)
    return _report(belief, grid, deviation, problem)


def _needless(
    cost: Tensor, belief: Tensor, grid: Grid, jump: float, most: float, price: float
) -> set[tuple[int, int]]:
    """Levels (layer, index) without which energy plus the price of the levels is lower; at most three at a time,
    no two of them neighbours."""
    array = (cost - cost.amin(-1, keepdim=True)).cpu().numpy()
    label = belief.argmax(-1).cpu().numpy()
    before = energy(array, joint_cost(grid.shape, jump, most), label)
    index = np.unravel_index(np.arange(len(grid)), grid.shape)
    gains = []
    for k, count in enumerate(grid.shape):
        for i in range(1, count):
            stays = index[k] != i
            step = np.full((len(grid), len(grid)), 1e6, np.float32)
            smaller = tuple(n - (j == k) for j, n in enumerate(grid.shape))
            step[np.ix_(stays, stays)] = joint_cost(smaller, jump, most)
            found = without(array, step, label, ~stays, np.abs(index[k] - i) == 1)
            gain = before + price - energy(array, step, found)
            if gain > 0:
                gains.append((gain, k, i))
    drop: set[tuple[int, int]] = set()
    for _, k, i in sorted(gains, reverse=True):
        if len(drop) < 3 and not {(k, i - 1), (k, i + 1)} & drop:
            drop.add((k, i))
    return drop


def _refined(pixels: Tensor, belief: Tensor, grid: Grid, noise: float) -> tuple[Grid, list[Tensor]]:
    share = belief.flatten(0, 1)
    moments = torch.stack([pixels @ share, pixels**2 @ share]).double().cpu()
    return refine_levels(moments, share.sum(0).double().cpu(), grid, noise)


def _report(
    belief: Tensor, grid: Grid, deviation: list[Tensor], problem: Problem
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    height, width = belief.shape[:2]
    joint = belief.reshape(height * width, *grid.shape)
    thickness, spread, sure = [], [], []
    for k, (levels, sd) in enumerate(zip(grid.levels, deviation, strict=True)):
        marginal = joint.sum([j + 1 for j in range(len(grid.shape)) if j != k]) if len(grid.shape) > 1 else joint
        at, sd = levels.to(marginal), sd.to(marginal)
        value = at[marginal.argmax(1)]
        variance = (marginal * (at - value[:, None]) ** 2).sum(1) + (marginal * sd**2).sum(1)
        thickness.append(value.reshape(height, width))
        spread.append(variance.sqrt().reshape(height, width))
        # a level within its error of the next voxel boundary reaches it
        slack = torch.minimum(2 * sd, torch.full_like(sd, problem.voxel_nm / 20)) + 1e-3 * problem.stack.max_nm[k]
        sure.append(torch.where(at > 0, (at + slack).clamp_max(problem.stack.max_nm[k]), 0.0))
    drawn = torch.stack([g.flatten() for g in torch.meshgrid(*sure, indexing="ij")])
    volume = most_probable_volume(belief.flatten(0, 1), drawn, problem).reshape(-1, height, width)
    return torch.stack(thickness), torch.stack(spread), volume, torch.ones((height, width), dtype=torch.bool)
