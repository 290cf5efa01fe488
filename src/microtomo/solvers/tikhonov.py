"""Regularised non-linear least squares, pixel by pixel: the published numerical baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, slopes, starting_grid
from microtomo.inverse.pixelwise import by_pixel, descend, deviation_within_range
from microtomo.inverse.problem import Estimate, Problem
from microtomo.registry import Published, register
from microtomo.voxels import thickness_to_volume

_SLACK = 1e-3  # of a layer's range, for voxels


@register(
    "tikhonov",
    task="layers",
    citation="Golub, Hansen & O'Leary, SIAM J. Matrix Anal. Appl. 21 (1999) 185",
    published=Published("Numerical (Tikhonov)", {"test set": 0.617, "experimental structure": 0.572}),
)
def tikhonov(signal: Tensor, problem: Problem, *, weight: float = 1.0, iterations: int = 12) -> Estimate:
    """Per-pixel least squares with Tikhonov regularisation (Levenberg-Marquardt within bounds).

    Minimises sum_e (I_obs - I)^2 / s^2 + weight * sum_k (d_k / max_k)^2 from the best point of a coarse grid. The
    baseline that the report compares with; it knows neither the neighbours nor that brighter pixels are noisier.
    Its volume follows from its thickness, a thousandth of the range added: the ridge pulls by about as much, and
    9.99 nm for 10 would cost a voxel.
    """
    forward, stack = problem.forward, problem.stack
    grid = starting_grid(forward)

    def solve(observed: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        precision = max(noise, NOISE_FLOOR) ** -2
        ridge = torch.tensor([weight / nm**2 for nm in stack.max_nm]).to(observed)[:, None]

        def terms(d: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
            model = forward.response(d)
            rest = observed - model
            cost = 0.5 * (precision * (rest**2).sum(0) + (ridge * d**2).sum(0))
            if not wanted:
                return cost, None, None
            slope = slopes(d, forward, model) * model
            hessian = precision * torch.einsum("jep,kep->jkp", slope, slope) + torch.diag(ridge[:, 0])[..., None]
            return cost, ridge * d - precision * (slope * rest).sum(1), hessian

        table = grid.signal.to(observed)
        prior = 0.5 * (ridge * grid.thickness.to(observed) ** 2).sum(0)
        squares = (table**2).sum(0) - 2 * observed.T @ table
        start = grid.thickness.to(observed)[:, (0.5 * precision * squares + prior).argmin(1)]
        thickness, converged = descend(terms, start, (start > 0) | (not forward.jumps_at_zero), stack, iterations)
        slack = _SLACK if problem.rule == "floor" else 0.0
        drawn = thickness + slack * (thickness > 0) * thickness.new_tensor(stack.max_nm)[:, None]
        volume = thickness_to_volume(drawn[:, None], problem.depth, problem.voxel_nm, problem.rule)[:, 0]
        return thickness, deviation_within_range(thickness, problem, noise), volume, converged

    return by_pixel(signal, problem, solve)
