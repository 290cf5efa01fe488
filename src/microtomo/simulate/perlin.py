"""Gradient (Perlin) noise as one batched torch expression."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.errors import MicrotomoError


def gradient_noise(gradients: Tensor, height: int, width: int) -> Tensor:
    """Classic gradient noise (Perlin 2002: quintic fade) from given node gradients.

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
    cells_y, cells_x = gradients.shape[-3] - 1, gradients.shape[-2] - 1
    if cells_y < 1 or cells_x < 1 or gradients.shape[-1] != 2:
        raise MicrotomoError(f"node gradients are (..., cells_y + 1, cells_x + 1, 2); got {tuple(gradients.shape)}")
    iy, fy = _axis(cells_y, height, gradients)
    ix, fx = _axis(cells_x, width, gradients)
    wy, wx = _fade(fy)[:, None], _fade(fx)

    def ramp(dy: int, dx: int) -> Tensor:
        node = gradients[..., iy + dy, :, :][..., ix + dx, :]
        return node[..., 0] * (fy - dy)[:, None] + node[..., 1] * (fx - dx)

    low = torch.lerp(ramp(0, 0), ramp(0, 1), wx)
    high = torch.lerp(ramp(1, 0), ramp(1, 1), wx)
    return torch.lerp(low, high, wy)


def random_gradients(seed: int, cells: int = 2) -> Tensor:
    """Node gradients (cells + 1, cells + 1, 2) of one field, components uniform in [-1, 1], float64.

    Drawn on the CPU, so that a seed gives the same field on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((cells + 1, cells + 1, 2), generator=generator, dtype=torch.float64) * 2 - 1


def _axis(cells: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    position = torch.arange(size, device=like.device, dtype=like.dtype) * (cells / size)
    index = position.floor().clamp_max(cells - 1)
    return index.long(), position - index


def _fade(t: Tensor) -> Tensor:
    return t * t * t * (t * (t * 6 - 15) + 10)
