"""From probabilities of thicknesses to the most probable volume."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.problem import Problem
from microtomo.voxels import thickness_to_volume


def most_probable_volume(probability: Tensor, thickness: Tensor, problem: Problem) -> Tensor:
    """Volume (z, p) uint8: of all columns of layers in their order, the one with most voxels right on average.

    ``probability`` (p, L) of the combinations of thicknesses (l, L) [nm]; a pixel's probabilities sum to 1.
    This is the best guess for the voxels, where rounding the most probable thickness down would lose one.
    """
    labels = len(thickness) + 1
    drawn = thickness_to_volume(thickness[:, None].float(), problem.depth, problem.voxel_nm, problem.rule)[:, 0]
    holds = torch.stack([drawn == k for k in range(labels)]).to(probability)  # (k, z, L)
    share = (probability @ holds.flatten(0, 1).T).reshape(-1, labels, problem.depth)
    share = share.roll(-1, 1)  # from the bottom up a column is layer 1, layer 2, ..., empty
    total, came = share[..., 0], []
    for z in range(1, problem.depth):
        best, before = total.cummax(1)
        total = best + share[..., z]
        came.append(before)
    at = total.argmax(1)
    column = [at]
    for before in reversed(came):
        at = before.gather(1, at[:, None])[:, 0]
        column.append(at)
    return ((torch.stack(column[::-1]) + 1) % labels).to(torch.uint8)
