"""From voxel logits to columns of layers."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from microtomo.materials import Stack


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


def column_index(thickness: Tensor, columns: list[tuple[int, ...]], depth: int, voxel_nm: float) -> Tensor:
    """Number (n, y, x) of the column in ``columns`` that each pixel of (n, l, y, x) [nm] fills."""
    counts = torch.floor(thickness / voxel_nm + 1e-6).long()
    left = torch.full_like(counts[:, 0], depth)
    code = torch.zeros_like(left)
    for k in range(counts.shape[1]):
        fits = torch.minimum(counts[:, k], left)
        left = left - fits
        code = code * (depth + 1) + fits
    table = code.new_zeros((depth + 1) ** counts.shape[1])
    for i, column in enumerate(columns):
        key = 0
        for count in column:
            key = key * (depth + 1) + count
        table[key] = i
    return table[code]
