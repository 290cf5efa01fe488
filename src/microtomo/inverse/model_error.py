"""What the physics does not know, carried into the error bars: a forward model's own doubt, as thickness."""

from __future__ import annotations

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, slopes
from microtomo.inverse.problem import Estimate, Problem
from microtomo.physics.information import relative_information

_SHARED = 20  # pixels of the very same thickness: no accident of floating point, but a level
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
    # a layer that is absent stays absent, or is free to appear: the wider of the two holds
    there = (thickness > 0).T.double()
    kept = precision * there[:, :, None] * there[:, None] + torch.diag_embed(1 - there)
    shift = torch.linalg.solve(precision, pull).abs()
    shift = shift.maximum(torch.linalg.solve(kept, pull * there[..., None]).abs())
    moved: Tensor = shift.square().sum(-1).sqrt().T.to(thickness)
    return moved


def with_model_error(estimate: Estimate, problem: Problem) -> Estimate:
    """The estimate with the doubt of the forward model added to its standard deviations, in quadrature."""
    total = estimate.uncertainty.clone()
    for i, sample in enumerate(estimate.thickness.flatten(2)):
        parts = []
        for first in range(0, sample.shape[1], _PIXELS):
            moved = model_deviation(sample[:, first : first + _PIXELS], problem, float(problem.noise[i]))
            if moved is None:
                return estimate
            parts.append(moved)
        shift = torch.stack([_of_level(s, d) for s, d in zip(torch.cat(parts, 1), sample, strict=True)])
        total[i] = torch.hypot(total[i], shift.view_as(total[i]))
    top = total.new_tensor(problem.stack.max_nm)[:, None, None]
    return Estimate(estimate.thickness, total.minimum(top), estimate.volume, estimate.converged)


def _of_level(shift: Tensor, thickness: Tensor) -> Tensor:
    """Deviations (p,) of one layer, at least the rms of all pixels of the same thickness (p,) where many share it: a
    method that gives them one level fitted it to all of them together."""
    _, level, count = torch.unique(thickness, return_inverse=True, return_counts=True)
    square = torch.zeros_like(count, dtype=shift.dtype).index_add_(0, level, shift**2) / count
    shared = (count >= _SHARED)[level] & (thickness > 0)
    widened: Tensor = torch.where(shared, shift.maximum(square.sqrt()[level]), shift)
    return widened
