"""Spatial maximum a posteriori: neighbours help, edges stay."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.misfit import Grid
from microtomo.inverse.problem import Answer, Estimate, Problem
from microtomo.registry import register
from microtomo.solvers.spatial.labelling import Image, Prior
from microtomo.voxels import thickness_to_volume

_MOST_PIXELS = 520 * 520  # pixels of terraces solved in one piece
_FIELD_PIXELS = 200 * 200  # pixels of continuous thickness solved in one piece
_FIELD_TILE, _FIELD_OVERLAP, _SAMPLE = 160, 32, 128  # pixels a side
_TILE, _OVERLAP = 448, 64  # pixels a side of a tile, and those that it shares with the next


@register(
    "map",
    task="layers",
    citation="Rau & Reimer, Scanning 23 (2001) 235 (signal); sum-product belief propagation (Pearl 1988) over "
    "thickness levels learnt by a sparse mixture (Figueiredo & Jain 2002)",
)
def solve_map(
    signal: Tensor,
    problem: Problem,
    *,
    jump: float = 2.0,
    most: float = 6.0,
    level_price: float = 12.0,
    rounds: int = 3,
) -> Estimate:
    """Spatial maximum a posteriori: a discontinuity-preserving prior over thickness levels learnt from the scan.

    ``jump`` and ``most`` (in nats) price a step between neighbours by one level and by any number; ``level_price``
    is what a level must gain in likelihood to exist. Against the misfit, which knows the noise level, these prices
    need no setting by hand. ``rounds`` of messages pass over the final labelling (two more over continuous thickness);
    a pixel has converged where the last of them changed next to nothing.
    """
    prior = Prior(jump, most, level_price, rounds)
    parts = [_solve(sample, problem, float(problem.noise[i]), prior) for i, sample in enumerate(signal)]
    return Estimate(*(torch.stack(field) for field in zip(*parts, strict=True)))


def _solve(observed: Tensor, problem: Problem, noise: float, prior: Prior) -> Answer:
    height, width = observed.shape[1:]
    if problem.levels is not None:
        return _with_levels(observed, problem, noise, prior, Grid(problem.levels, problem.forward))
    if height * width <= _FIELD_PIXELS:
        return Image(observed, problem, noise, prior).solve()[0]
    if _continuous(observed, problem, noise, prior):
        tiles = _tiles(height, width, _FIELD_TILE, _FIELD_OVERLAP)
        answers = [
            Image(observed[:, rows, columns], problem.part(rows, columns), noise, prior).solve()[0]
            for rows, columns in tiles
        ]
        return _joined(answers, tiles, problem, _FIELD_OVERLAP, blend=True)
    if height * width <= _MOST_PIXELS:
        return Image(observed, problem, noise, prior).solve(fields=False)[0]
    tiles = _tiles(height, width, _TILE, _OVERLAP)
    images = [Image(observed[:, rows, columns], problem.part(rows, columns), noise, prior) for rows, columns in tiles]
    common = _united([grid for image in images if (grid := image.solve(fields=False)[1]) is not None])
    return _with_levels(observed, problem, noise, prior, common)


def _with_levels(observed: Tensor, problem: Problem, noise: float, prior: Prior, levels: Grid) -> Answer:
    """The answer with levels that are known, in tiles where the image is large."""
    height, width = observed.shape[1:]
    if height * width <= _MOST_PIXELS:
        return Image(observed, problem, noise, prior).with_levels(levels)
    tiles = _tiles(height, width, _TILE, _OVERLAP)
    images = (Image(observed[:, rows, columns], problem.part(rows, columns), noise, prior) for rows, columns in tiles)
    return _joined([image.with_levels(levels) for image in images], tiles, problem, _OVERLAP, blend=False)


def _continuous(observed: Tensor, problem: Problem, noise: float, prior: Prior) -> bool:
    """Whether half of four samples of a large image, one in the middle of each quarter, are continuous."""
    size = observed.shape[1:]
    found = 0
    for y in (0.25, 0.75):
        for x in (0.25, 0.75):
            first = [
                min(max(round(at * n) - _SAMPLE // 2, 0), max(n - _SAMPLE, 0))
                for at, n in zip((y, x), size, strict=True)
            ]
            part = observed[:, first[0] : first[0] + _SAMPLE, first[1] : first[1] + _SAMPLE]
            rows, columns = (slice(at, at + _SAMPLE) for at in first)
            found += Image(part, problem.part(rows, columns), noise, prior).solve()[1] is None
    return found >= 2


def _tiles(height: int, width: int, size: int, overlap: int) -> list[tuple[slice, slice]]:
    return [(rows, columns) for rows in _spans(height, size, overlap) for columns in _spans(width, size, overlap)]


def _spans(total: int, size: int, overlap: int) -> list[slice]:
    """Overlapping spans that cover ``total`` pixels."""
    if total <= size:
        return [slice(0, total)]
    count = -(-(total - overlap) // (size - overlap))
    starts = [round(i * (total - size) / (count - 1)) for i in range(count)]
    return [slice(first, first + size) for first in starts]


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
    return grids[0].with_levels(levels)


def _joined(
    answers: list[Answer], tiles: list[tuple[slice, slice]], problem: Problem, overlap: int, blend: bool
) -> Answer:
    """One image from overlapping tiles: each pixel from the tile that it lies deepest in, or a weighted mean."""
    height, width = max(t[0].stop for t in tiles), max(t[1].stop for t in tiles)
    layers = answers[0][0].shape[0]
    like = answers[0][0]
    thickness, deviation = like.new_zeros((layers, height, width)), like.new_zeros((layers, height, width))
    volume = torch.zeros((answers[0][2].shape[0], height, width), dtype=torch.uint8, device=like.device)
    weight = like.new_zeros((height, width))
    converged = torch.ones((height, width), dtype=torch.bool, device=like.device)
    for (rows, columns), (d, sd, v, done) in zip(tiles, answers, strict=True):
        depth = torch.minimum(_depth(rows, height, overlap)[:, None], _depth(columns, width, overlap)).to(like)
        if blend:
            thickness[:, rows, columns] += depth * d
            deviation[:, rows, columns] += depth * sd
            weight[rows, columns] += depth
            converged[rows, columns] &= done
        else:
            wins = depth > weight[rows, columns]
            weight[rows, columns] = torch.where(wins, depth, weight[rows, columns])
            for whole, part in ((thickness, d), (deviation, sd), (volume, v), (converged, done)):
                whole[..., rows, columns] = torch.where(wins, part, whole[..., rows, columns])
    if blend:
        thickness, deviation = thickness / weight, deviation / weight
        volume = thickness_to_volume(thickness, problem.depth, problem.voxel_nm, problem.rule)
    return thickness, deviation, volume, converged


def _depth(span: slice, size: int, overlap: int) -> Tensor:
    """How deep each pixel of a span lies inside it [pixels], at most the overlap; the image's own edge is no edge."""
    at = torch.arange(span.start, span.stop)
    inner = torch.full_like(at, overlap)
    if span.start > 0:
        inner = torch.minimum(inner, at - span.start + 1)
    if span.stop < size:
        inner = torch.minimum(inner, span.stop - at)
    return inner.float()
