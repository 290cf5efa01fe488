"""Gradient (Perlin) noise as one batched torch expression."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError


def gradient_noise(gradients: Tensor, height: int, width: int) -> Tensor:
    """Classic gradient noise (Perlin 2002: quintic fade) from given node gradients.

    The fade weights of the four nodes around a pixel are a product of one along y and one along x, so with w the
    weight of a node along an axis, zero outside its two cells, and r = w times the distance from the node,

        field(y, x) = sum_ij  gy_ij r_i(y) w_j(x) + gx_ij w_i(y) r_j(x).

    Parameters
    ----------
    gradients
        (..., cells_y + 1, cells_x + 1, 2): the (y, x) gradient at every lattice node, any device and dtype.
    height, width
        Size of the field in pixels; pixel i lies at lattice coordinate i * cells / size.

    Returns
    -------
    (..., height, width)
    """
    if gradients.ndim < 3 or min(gradients.shape[-3:-1]) < 2 or gradients.shape[-1] != 2:
        raise MicrotomoError(f"node gradients are (..., cells_y + 1, cells_x + 1, 2); got {tuple(gradients.shape)}")
    cells_y, cells_x = gradients.shape[-3] - 1, gradients.shape[-2] - 1
    wy, ry = _node_weights(cells_y, height, gradients.dtype, gradients.device)
    wx, rx = _node_weights(cells_x, width, gradients.dtype, gradients.device)
    field = gradients.new_zeros((*gradients.shape[:-3], height, width))
    for j in range(cells_x + 1):
        gy, gx = gradients[..., :, j, None, 0], gradients[..., :, j, None, 1]
        field += (gy * ry).sum(-2)[..., :, None] * wx[j] + (gx * wy).sum(-2)[..., :, None] * rx[j]
    return field


def random_gradients(seed: int, cells: int = 2) -> Tensor:
    """Node gradients (cells + 1, cells + 1, 2) of one field, components uniform in [-1, 1], float64.

    ``seed`` is 0..2^64 - 1. Drawn on the CPU, so that a seed gives the same field on every device.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy(generator.uniform(-1, 1, (cells + 1, cells + 1, 2)))


@lru_cache(maxsize=32)
def _node_weights(cells: int, size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weight of every node at every pixel of an axis, and weight times distance: (cells + 1, size) each."""
    position = torch.arange(size, dtype=dtype, device=device) * (cells / size)
    distance = position - torch.arange(cells + 1, dtype=dtype, device=device)[:, None]
    t = (1 - distance.abs()).clamp_min(0)
    weight = t * t * t * (t * (t * 6 - 15) + 10)
    return weight, weight * distance
