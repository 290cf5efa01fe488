"""What the particle network is trained to: coverage, depth, and the size with its deviation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from microtomo.tem.particles.outputs import COVER, DEPTH, DEVIATION, MIDDLE_SIZE, SIZE

DEPTH_WEIGHT, SIZE_WEIGHT = 1.5, 0.1
SMALL_PX, MOST = 14.0, 4.0
"""The depth of particles smaller than the first counts more, in proportion to their diameter, up to the second times:
their few pixels would else hardly count, and a particle is found by its depth."""


def particle_loss(output: Tensor, cover: Tensor, depth: Tensor, size: Tensor, weight: Tensor) -> Tensor:
    """Mean loss of outputs (n, 4, y, x) against targets (n, y, x), see ``TrainingImage``.

    Cross-entropy of coverage and depth, soft Dice of the coverage, and the negative logarithm of the likelihood of
    log2(size), which counts most at the particles' centres.
    """
    cross = functional.binary_cross_entropy_with_logits(output[:, COVER], cover, weight=weight)
    small = torch.where(depth > 0, (SMALL_PX / size.clamp_min(1)).clamp(1, MOST), 1.0)
    deep = functional.binary_cross_entropy_with_logits(output[:, DEPTH], depth, weight=weight * small)
    share = output[:, COVER].sigmoid() * weight
    common, total = (share * cover).sum(), (share + cover * weight).sum()
    dice = 1 - (2 * common + 1) / (total + 1)
    inside = (depth > 0.1).to(depth) * weight * depth
    spread = output[:, DEVIATION].clamp(-5, 2)
    error = (output[:, SIZE] + MIDDLE_SIZE - size.clamp_min(1).log2()) / spread.exp()
    likelihood = ((0.5 * error.square().clamp_max(50) + spread) * inside).sum() / inside.sum().clamp_min(1)
    return cross + 0.5 * dice + DEPTH_WEIGHT * deep + SIZE_WEIGHT * likelihood
