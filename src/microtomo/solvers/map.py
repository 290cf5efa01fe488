"""Spatial maximum a posteriori: neighbours help, edges stay."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.registry import register
from microtomo.solvers.labelling import Image, Prior
from microtomo.solvers.problem import Answer, Estimate, Problem
from microtomo.solvers.response import Grid
from microtomo.voxels import thickness_to_volume

_MOST_PIXELS = 520 * 520  # pixels solved in one piece: about 3 GB for continuous thickness, a quarter for terraces
_TILE, _OVERLAP = 448, 64  # pixels a side of a tile, and those that it shares with the next


@register(
    "map",
    task="sem",
    citation="Rau & Reimer, Scanning 23 (2001) 235 (signal); sum-product belief propagation (Pearl 1988) over "
    "thickness levels learnt by a sparse mixture (Figueiredo & Jain 2002)",
)
def solve_map(
    signal: Tensor, problem: Problem, *, jump: float = 2.0, most: float = 6.0, level_price: float = 12.0
) -> Estimate:
    """Spatial maximum a posteriori: a discontinuity-preserving prior over thickness levels learnt from the scan.

    ``jump`` and ``most`` (in nats) price a step between neighbours by one level and by any number; ``level_price``
    is what a level must gain in likelihood to exist. Against the misfit, which knows the noise level, these prices
    need no setting by hand.
    """
    prior = Prior(jump, most, level_price)
    parts = [_solve(sample, problem, float(problem.noise[i]), prior) for i, sample in enumerate(signal)]
    return Estimate(*(torch.stack(field) for field in zip(*parts, strict=True)))


def _solve(observed: Tensor, problem: Problem, noise: float, prior: Prior) -> Answer:
    height, width = observed.shape[1:]
    if height * width <= _MOST_PIXELS:
        return Image(observed, problem, noise, prior).solve()[0]
    tiles = [(rows, columns) for rows in _spans(height) for columns in _spans(width)]
    images = [Image(observed[:, rows, columns], problem, noise, prior) for rows, columns in tiles]
    solved = [image.solve() for image in images]
    levels = [grid for _, grid in solved if grid is not None]
    if 2 * len(levels) > len(tiles):  # terraces: one set of levels for all tiles
        common = _united(levels)
        return _joined([image.with_levels(common) for image in images], tiles, problem, blend=False)
    return _joined([answer for answer, _ in solved], tiles, problem, blend=True)


def _spans(size: int) -> list[slice]:
    """Overlapping spans that cover ``size`` pixels."""
    if size <= _TILE:
        return [slice(0, size)]
    count = -(-(size - _OVERLAP) // (_TILE - _OVERLAP))
    starts = [round(i * (size - _TILE) / (count - 1)) for i in range(count)]
    return [slice(first, first + _TILE) for first in starts]


def _united(grids: list[Grid]) -> Grid:
    """All levels of several grids; those within 1/100 of the range of each other become their mean."""
    levels = []
    for k, nm in enumerate(grids[0].stack.max_nm):
        groups: list[list[float]] = []
        for value in sorted(float(v) for grid in grids for v in grid.levels[k]):
            if groups and (value - groups[-1][0] < nm / 100) and (groups[-1][0] > 0 or value == 0):
                groups[-1].append(value)
            else:
                groups.append([value])
        levels.append(torch.tensor([sum(g) / len(g) for g in groups], dtype=torch.float64))
    return Grid(levels, grids[0].stack, grids[0].contrast)


def _joined(answers: list[Answer], tiles: list[tuple[slice, slice]], problem: Problem, blend: bool) -> Answer:
    """One image from overlapping tiles: each pixel from the tile that it lies deepest in, or a weighted mean."""
    height, width = max(t[0].stop for t in tiles), max(t[1].stop for t in tiles)
    layers = answers[0][0].shape[0]
    like = answers[0][0]
    thickness, deviation = like.new_zeros((layers, height, width)), like.new_zeros((layers, height, width))
    volume = torch.zeros((answers[0][2].shape[0], height, width), dtype=torch.uint8, device=like.device)
    weight = like.new_zeros((height, width))
    for (rows, columns), (d, sd, v, _) in zip(tiles, answers, strict=True):
        depth = torch.minimum(_depth(rows, height)[:, None], _depth(columns, width)).to(like)
        if blend:
            thickness[:, rows, columns] += depth * d
            deviation[:, rows, columns] += depth * sd
            weight[rows, columns] += depth
        else:
            wins = depth > weight[rows, columns]
            weight[rows, columns] = torch.where(wins, depth, weight[rows, columns])
            for whole, part in ((thickness, d), (deviation, sd), (volume, v)):
                whole[:, rows, columns] = torch.where(wins, part, whole[:, rows, columns])
    if blend:
        thickness, deviation = thickness / weight, deviation / weight
        volume = thickness_to_volume(thickness, problem.depth, problem.voxel_nm, problem.rule)
    return thickness, deviation, volume, torch.ones((height, width), dtype=torch.bool, device=like.device)


def _depth(span: slice, size: int) -> Tensor:
    """How deep each pixel of a span lies inside it [pixels], at most the overlap; the image's own edge is no edge."""
    at = torch.arange(span.start, span.stop)
    inner = torch.full_like(at, _OVERLAP)
    if span.start > 0:
        inner = torch.minimum(inner, at - span.start + 1)
    if span.stop < size:
        inner = torch.minimum(inner, span.stop - at)
    return inner.float()
