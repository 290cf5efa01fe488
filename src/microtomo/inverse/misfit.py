"""What the solvers ask of the attenuation model: signals, slopes and the misfit of whole grids of thicknesses.

Pixels are flat here: thickness (l, p) [nm], signal (e, p), so that one code serves images, crops and blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from microtomo.materials import Stack
from microtomo.physics.attenuation import backscatter, fast_backscatter

NOISE_FLOOR = 2e-3
"""Relative noise below which no scan is trusted: the model itself is no better."""


def response(thickness: Tensor, stack: Stack, contrast: str) -> Tensor:
    """Signal (e, p) of thicknesses (l, p) [nm]; float32 on the CPU goes through the compiled kernel."""
    if thickness.device.type == "cpu" and thickness.dtype == torch.float32:
        return torch.from_numpy(fast_backscatter(thickness[:, None].numpy(), stack, contrast)[:, 0])
    return backscatter(thickness[:, None], stack, contrast)[:, 0]


def slopes(thickness: Tensor, stack: Stack, contrast: str, signal: Tensor) -> Tensor:
    """d ln I / d d_k (l, e, p) [1/nm] at ``thickness``, where ``signal`` is the response.

    A forward difference of 1/300 of the range; a layer that is absent has its slope on the side of being there.
    """
    found = []
    for k, max_nm in enumerate(stack.max_nm):
        step = max_nm / 300
        there = thickness.clone()
        there[k] += step
        base = signal
        if contrast == "published" and bool((thickness[k] == 0).any()):
            # the published contrast jumps when a layer vanishes: take the slope beside the jump
            thin = thickness.clone()
            thin[k] = torch.where(thickness[k] == 0, step / 10, thickness[k])
            base = response(thin, stack, contrast)
        found.append((response(there, stack, contrast) - base) / (step * base))
    return torch.stack(found)


def information(slope: Tensor, noise: float) -> Tensor:
    """Fisher information (l, l, p) [1/nm^2] of the thicknesses for multiplicative Gaussian noise (PHYSICS: I_obs =
    I (1 + s n)): sum over energies of the products of the log slopes, over s^2."""
    return torch.einsum("jep,kep->jkp", slope, slope) / max(noise, NOISE_FLOOR) ** 2


def cost_at(observed: Tensor, signal: Tensor, noise: float) -> Tensor:
    """Negative log-likelihood (p,) of spectra (e, p): sum (I_obs / I - 1)^2 / (2 s^2) + ln I, up to a constant."""
    s = max(noise, NOISE_FLOOR)
    return ((observed / signal - 1) ** 2).sum(0) / (2 * s * s) + signal.log().sum(0)


def cost_slope(observed: Tensor, signal: Tensor, slope: Tensor, noise: float) -> Tensor:
    """Gradient (l, p) [1/nm] of :func:`cost_at` in the thicknesses, from the log slopes (l, e, p) of the signal."""
    x = observed / signal - 1
    return (slope * (1 - x * (1 + x) / max(noise, NOISE_FLOOR) ** 2)).sum(1)


def combinations(levels: Sequence[Tensor]) -> Tensor:
    """All combinations (l, L) of a list of values for each layer, the first layer slowest."""
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*levels, indexing="ij")])


class Grid:
    """All combinations of a list of thicknesses for each layer: label = index, first layer slowest.

    ``levels`` are one float64 tensor [nm] a layer, ascending; ``thickness`` (l, L) and ``signal`` (e, L) belong to
    the labels.
    """

    def __init__(self, levels: Sequence[Tensor], stack: Stack, contrast: str) -> None:
        self.levels = [torch.as_tensor(v, dtype=torch.float64) for v in levels]
        self.stack, self.contrast = stack, contrast
        self.shape = tuple(len(v) for v in self.levels)
        self.thickness = combinations(self.levels)
        self.signal = backscatter(self.thickness[:, None], stack, contrast)[:, 0]

    def __len__(self) -> int:
        return math.prod(self.shape)

    def misfit(self, observed: Tensor, noise: float, weight: Tensor | None = None) -> Tensor:
        """Negative log-likelihood of every label: (p, L) from spectra (e, p), on their device.

        Sums of spectra and of squared spectra over ``weight`` pixels serve as well as single pixels: then
        ``observed`` is (2, e, p). The squares are expanded so that one matrix product does the work.
        """
        s = max(noise, NOISE_FLOOR)
        dtype = torch.float32 if s >= 0.01 and weight is None else torch.float64
        first, second = (observed, observed**2) if weight is None else observed
        signal = self.signal.to(observed.device)
        # moments about 1 keep the terms small: the signal is near 1
        count = 1.0 if weight is None else weight
        d1, d2 = first - count, second - 2 * first + count
        inverse = 1 / signal
        offset = inverse - 1  # o/I - 1 = (o - 1)/I + (1/I - 1)
        scale = 1 / (2 * s * s)
        left = torch.cat([d2, d1, first.new_ones((1, first.shape[1])) * count]).T.to(dtype)
        constant = ((offset**2).sum(0) * scale + signal.log().sum(0))[None]
        right = torch.cat([inverse**2 * scale, 2 * inverse * offset * scale, constant]).to(dtype)
        return left @ right
