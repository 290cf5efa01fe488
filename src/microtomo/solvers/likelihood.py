"""Maximum likelihood, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from microtomo.inverse.columns import most_probable_volume
from microtomo.inverse.descent import fit_spectra
from microtomo.inverse.misfit import cost_at, information, response, slopes
from microtomo.inverse.problem import Answer, Estimate, Problem
from microtomo.registry import register
from microtomo.solvers.spatial.levels import starting_grid

_WORTH = 4.0  # nats that a layer which the grid finds absent must gain to be there after all
_PIXELS = 16384  # pixels at a time: the table of misfits stays below 100 MB


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


def by_pixel(signal: Tensor, problem: Problem, solve: Callable[[Tensor, float], Answer]) -> Estimate:
    """Run ``solve(spectra (e, p), noise) -> (thickness, deviation, volume, converged)`` over an image in parts."""
    n, e, y, x = signal.shape
    layers = len(problem.stack.layers)
    thickness = signal.new_empty((n, layers, y * x))
    deviation = torch.empty_like(thickness)
    volume = torch.empty((n, problem.depth, y * x), dtype=torch.uint8, device=signal.device)
    converged = torch.empty((n, y * x), dtype=torch.bool, device=signal.device)
    for i, sample in enumerate(signal.reshape(n, e, y * x)):
        for first in range(0, y * x, _PIXELS):
            part = slice(first, first + _PIXELS)
            found = solve(sample[:, part], float(problem.noise[i]))
            thickness[i, :, part], deviation[i, :, part], volume[i, :, part], converged[i, part] = found
    return Estimate(
        thickness.reshape(n, layers, y, x),
        deviation.reshape(n, layers, y, x),
        volume.reshape(n, problem.depth, y, x),
        converged.reshape(n, y, x),
    )


def _solve(observed: Tensor, problem: Problem, noise: float, iterations: int) -> Answer:
    stack, contrast = problem.stack, problem.contrast
    grid = starting_grid(stack, contrast)
    misfit = grid.misfit(observed, noise)
    start = grid.thickness.to(observed)[:, misfit.argmin(1)]
    free = (start > 0) | (contrast == "material")
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
    return thickness, converged, cost_at(observed, response(thickness, problem.stack, problem.contrast), noise)


def deviation_within_range(thickness: Tensor, problem: Problem, noise: float) -> Tensor:
    """Standard deviation (l, p) [nm]: Fisher information at ``thickness`` joined to a flat prior over the range,
    whose deviation is range / sqrt(12)."""
    model = response(thickness, problem.stack, problem.contrast)
    fisher = information(slopes(thickness, problem.stack, problem.contrast, model), noise)
    flat = torch.tensor([12 / nm**2 for nm in problem.stack.max_nm]).to(fisher)
    inverse = torch.linalg.inv((fisher + torch.diag(flat)[..., None]).movedim(-1, 0))
    variance: Tensor = inverse.diagonal(dim1=1, dim2=2).T
    return variance.clamp_min(0).sqrt()
