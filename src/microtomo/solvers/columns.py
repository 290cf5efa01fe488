"""From probabilities of thicknesses to the most probable volume."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.solvers.problem import Problem
from microtomo.voxels import thickness_to_volume


def most_probable_volume(probability: Tensor, thickness: Tensor, problem: Problem) -> Tensor:
    """Volume (z, p) uint8 that has in every voxel the label of the greatest total probability.

    ``probability`` (p, L) of the combinations of thicknesses (l, L) [nm]; a pixel's probabilities sum to 1.
    This is the best guess voxel by voxel, where rounding the most probable thickness down would lose one.
    """
    labels = len(thickness) + 1
    drawn = thickness_to_volume(thickness[:, None].float(), problem.depth, problem.voxel_nm, problem.rule)[:, 0]
    holds = torch.stack([drawn == k for k in range(labels)]).to(probability)  # (k, z, L)
    share = (probability @ holds.flatten(0, 1).T).reshape(-1, labels, problem.depth)
    return share.argmax(1).T.to(torch.uint8)
