"""What the solvers ask of a forward model: slopes of the signal, the likelihood, and the misfit of whole grids.

Pixels are flat here: thickness (l, p) [nm], signal (e, p), so that one code serves images, crops and blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from microtomo.materials import Stack
from microtomo.physics.forward import ForwardModel

NOISE_FLOOR = 2e-3
"""Relative noise below which no scan is trusted: the model itself is no better."""

_STEPS = {1: (61,), 2: (16, 31), 3: (11, 11, 16), 4: (6, 6, 6, 11)}  # thicknesses a layer: 1 nm of 15, 5 nm of 150
_STEP = 1 / 300  # of the range: forward differences, short beside the curvature of the signal


def slopes(thickness: Tensor, forward: ForwardModel, signal: Tensor) -> Tensor:
    """d ln I / d d_k (l, e, p) [1/nm] at ``thickness``, where ``signal`` is the response.

    A forward difference of 1/300 of the range; a layer that is absent has its slope on the side of being there.
    """
    each = []
    for k, max_nm in enumerate(forward.stack.max_nm):
        step = _STEP * max_nm
        there = thickness.clone()
        there[k] += step
        base = signal
        if forward.jumps_at_zero and bool((thickness[k] == 0).any()):  # take the slope beside the jump
            thin = thickness.clone()
            thin[k] = torch.where(thickness[k] == 0, step / 10, thickness[k])
            base = forward.response(thin)
        each.append((forward.response(there) - base) / (step * base))
    return torch.stack(each)


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

    def __init__(self, levels: Sequence[Tensor], forward: ForwardModel) -> None:
        self.levels = [torch.as_tensor(v, dtype=torch.float64) for v in levels]
        self.forward = forward
        self.shape = tuple(len(v) for v in self.levels)
        self.thickness = combinations(self.levels)
        self.signal = forward.response(self.thickness)

    @property
    def stack(self) -> Stack:
        """The stack that the forward model is for."""
        return self.forward.stack

    def with_levels(self, levels: Sequence[Tensor]) -> Grid:
        """Other levels, the same forward model."""
        return Grid(levels, self.forward)

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


def starting_grid(forward: ForwardModel) -> Grid:
    """The coarse grid that every search starts from: round steps, 16 x 31 thicknesses for two layers."""
    axes = []
    for nm, most in zip(forward.stack.max_nm, _STEPS[len(forward.stack.layers)], strict=True):
        count = math.floor(nm / _round_step(nm / (most - 1)) + 1e-9)
        axes.append(torch.linspace(0, nm, count + 1, dtype=torch.float64))
    return Grid(axes, forward)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= least * (1 - 1e-9))
