"""How well a solution explains each pixel, and what ails the pixels that it does not."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.problem import Estimate, Problem
from microtomo.scan import Status


def chi_square_of(data: Tensor, thickness: Tensor, problem: Problem) -> Tensor:
    """Mean over energies of the squared residual of the re-simulated signal over its noise: (n, y, x)."""
    rows = max(1, 2**18 // data.shape[-1])
    result = torch.empty_like(data[:, 0])
    for i in range(len(data)):
        s = max(float(problem.noise[i]), NOISE_FLOOR)
        for first in range(0, data.shape[2], rows):
            part = slice(first, first + rows)
            model = problem.forward(thickness[i, :, part])
            result[i, part] = ((data[i, :, part] / model - 1) ** 2).mean(0) / s**2
    return result


def status_of(data: Tensor, estimate: Estimate, chi_square: Tensor, problem: Problem, rejected: Tensor) -> Tensor:
    """Codes of :class:`Status`, uint8 (n, y, x). A poor fit is one that noise gives once in a million pixels;
    ``rejected`` (n, y, x) counts the values of a pixel that were left out."""
    free = max(1, len(problem.stack.energies_kev) - len(problem.stack.layers))
    # upper quantile of chi-square over its degrees of freedom (Wilson & Hilferty 1931), z = 4.9
    limit = (1 - 2 / (9 * free) + 4.9 * (2 / (9 * free)) ** 0.5) ** 3
    top = torch.tensor(problem.stack.max_nm).to(estimate.thickness)[:, None, None]
    poor = chi_square > limit
    at_end = (estimate.thickness >= 0.995 * top).any(1)
    opaque = _opaque(data, estimate.thickness, chi_square, problem)
    status = torch.full_like(chi_square, int(Status.OK), dtype=torch.uint8)
    status[~estimate.converged] = int(Status.NOT_CONVERGED)
    status[poor] = int(Status.POOR_FIT)
    status[(poor & at_end) | opaque] = int(Status.OUT_OF_RANGE)
    status[rejected == data.shape[1]] = int(Status.REJECTED)
    return status


def _opaque(data: Tensor, thickness: Tensor, chi_square: Tensor, problem: Problem) -> Tensor:
    """Where a layer may as well be so thick that nothing is seen through it even at the highest energy: (n, y, x).
    Its thickness is then a lower bound at best."""
    stack = problem.stack
    opaque = torch.zeros_like(chi_square, dtype=torch.bool)
    for k, layer in enumerate(stack.layers):
        if problem.forward.transmitted(k) < float(problem.noise.max().clamp_min(NOISE_FLOOR)):
            thick = thickness.clone()
            thick[:, k] = layer.max_nm
            # within three standard deviations of the estimate
            close = (chi_square_of(data, thick, problem) - chi_square) * len(stack.energies_kev) < 9
            opaque |= close & (thickness[:, k] > 0)
    return opaque
