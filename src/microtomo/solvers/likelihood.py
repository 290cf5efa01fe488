"""Maximum likelihood, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.columns import most_probable_volume
from microtomo.inverse.misfit import cost_at, starting_grid
from microtomo.inverse.pixelwise import by_pixel, deviation_within_range, fit_spectra
from microtomo.inverse.problem import Answer, Estimate, Problem
from microtomo.registry import register

_WORTH = 4.0  # nats that a layer which the grid finds absent must gain to be there after all


@register(
    "likelihood",
    task="layers",
    citation="Rau & Reimer, Scanning 23 (2001) 235 (signal); maximum likelihood over a grid, refined by Gauss-Newton",
)
def likelihood(signal: Tensor, problem: Problem, *, iterations: int = 15) -> Estimate:
    """Per-pixel maximum likelihood: the best thicknesses of a grid, refined below it.

    The quickest honest answer: no prior, so it neither smooths nor invents. Its standard deviation is the
    Cramer-Rao bound within the range of each layer, and where that is as wide as the range, believe it.
    Use ``map`` when neighbouring pixels have to do with each other.
    """
    return by_pixel(signal, problem, lambda part, noise: _solve(part, problem, noise, iterations))


def _solve(observed: Tensor, problem: Problem, noise: float, iterations: int) -> Answer:
    grid = starting_grid(problem.forward)
    misfit = grid.misfit(observed, noise)
    start = grid.thickness.to(observed)[:, misfit.argmin(1)]
    free = (start > 0) | (not problem.forward.jumps_at_zero)
    thickness, converged, cost = _descended(observed, start, free, problem, noise, iterations)
    # where noise is low, a missed step of the grid outweighs an absent layer: try once more with every layer present
    part = torch.nonzero((start == 0).any(0))[:, 0]
    present = torch.nonzero((grid.thickness > 0).all(0))[:, 0].to(observed.device)
    if len(part):
        start = grid.thickness.to(observed)[:, present[misfit[part][:, present].argmin(1)]]
        everywhere = torch.ones_like(start, dtype=torch.bool)
        trial, done, less = _descended(observed[:, part], start, everywhere, problem, noise, iterations)
        better = less < cost[part] - _WORTH
        thickness[:, part] = torch.where(better, trial, thickness[:, part])
        converged[part] = torch.where(better, done, converged[part])
    probability = torch.softmax(-misfit, 1).to(observed)
    volume = most_probable_volume(probability, grid.thickness.to(observed), problem)
    return thickness, deviation_within_range(thickness, problem, noise), volume, converged


def _descended(
    observed: Tensor, start: Tensor, free: Tensor, problem: Problem, noise: float, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Thickness, convergence and cost after the descent from ``start``."""
    thickness, converged = fit_spectra(observed, start, free, problem, noise, iterations)
    return thickness, converged, cost_at(observed, problem.forward.response(thickness), noise)
