"""What the physics does not know, carried into the error bars: a forward model's own doubt, as thickness."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, slopes
from microtomo.inverse.problem import Estimate, Problem
from microtomo.physics.information import relative_information

_PIXELS = 16384  # at a time: signals and slopes of 31 energies and two layers stay below 20 MB


def model_deviation(thickness: Tensor, problem: Problem, noise: float) -> Tensor | None:
    """Standard deviation (l, p) [nm] that the doubt of the forward model gives thicknesses (l, p); None if it has none.

    To first order a signal that is off by a relative delta (e, p) moves a fit by F^-1 sum_e (dlnI/dd) delta / s^2, with
    the Fisher information F joined to a flat prior of the range. The error is common to all pixels: averaging over an
    area does not reduce it.
    """
    forward = problem.forward
    delta = forward.doubt(thickness)
    if delta is None:
        return None
    noise = max(noise, NOISE_FLOOR)
    slope = slopes(thickness, forward, forward.response(thickness))
    flat = thickness.new_tensor([12 / nm**2 for nm in problem.stack.max_nm])
    precision = (relative_information(slope, noise) + torch.diag(flat)[..., None]).movedim(-1, 0).double()
    pull = torch.einsum("lep,mep->plm", slope, delta.to(slope)).double() / noise**2
    moved: Tensor = torch.linalg.solve(precision, pull).square().sum(-1).sqrt().T.to(thickness)
    return moved


def with_model_error(estimate: Estimate, problem: Problem) -> Estimate:
    """The estimate with the doubt of the forward model added to its standard deviations, in quadrature."""
    layers = estimate.thickness.shape[1]
    total = estimate.uncertainty.clone()
    for i, sample in enumerate(estimate.thickness.flatten(2)):
        spread = total[i].view(layers, -1)
        for first in range(0, sample.shape[1], _PIXELS):
            part = slice(first, first + _PIXELS)
            shift = model_deviation(sample[:, part], problem, float(problem.noise[i]))
            if shift is None:
                return estimate
            spread[:, part] = torch.hypot(spread[:, part], shift)
    top = total.new_tensor(problem.stack.max_nm)[:, None, None]
    return Estimate(estimate.thickness, total.minimum(top), estimate.volume, estimate.converged)
