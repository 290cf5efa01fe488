"""Methods that take each pixel for itself: images in parts, damped Gauss-Newton descent within bounds (Levenberg 1944,
Marquardt 1963), and the deviation that a pixel by itself can have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, cost_at, cost_slope, slopes
from microtomo.inverse.problem import Answer, Estimate, Problem
from microtomo.materials import Stack
from microtomo.physics.information import precision_nm, relative_information

Terms = Callable[[Tensor, bool], tuple[Tensor, Tensor | None, Tensor | None]]

_PIXELS = 16384  # pixels at a time: a table of misfits over the starting grid stays below 100 MB


def descend(
    terms: Terms, start: Tensor, free: Tensor, stack: Stack, iterations: int, tolerance: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Minimise a cost of every pixel's thicknesses.

    Parameters
    ----------
    terms
        ``terms(thickness (l, p), slopes wanted)`` gives cost (p,), gradient (l, p) and Gauss-Newton Hessian
        (l, l, p); the last two are None unless wanted.
    start, free
        (l, p): thicknesses [nm], and which of them may move; the others stay, so an absent layer stays absent.
    tolerance
        A pixel has converged once no layer moves by more than this share of its range.

    Returns
    -------
    Thickness (l, p) within [0, max_nm], and whether each pixel converged (p,).
    """
    top = torch.tensor(stack.max_nm, dtype=start.dtype, device=start.device)[:, None]
    bottom = torch.where(free & (start > 0), 1e-3 * top, 0.0)
    identity = torch.eye(len(top), dtype=start.dtype, device=start.device)[..., None]
    d = torch.minimum(torch.maximum(start, bottom), top)
    damping = torch.full_like(d[0], 1e-2)
    done = torch.zeros_like(d[0], dtype=torch.bool)
    for _ in range(iterations):
        cost, gradient, hessian = terms(d, True)
        assert gradient is not None
        assert hessian is not None
        moving = free & ~((d <= bottom) & (gradient > 0)) & ~((d >= top) & (gradient < 0))
        diagonal = torch.einsum("jjp->jp", hessian)
        damped = hessian + identity * (damping * diagonal + 1e-6 / top**2)
        both = moving[:, None] & moving[None]
        damped = torch.where(both, damped, identity)
        move = -torch.linalg.solve(damped.movedim(-1, 0), torch.where(moving, gradient, 0.0).T[..., None])[..., 0].T
        trial = torch.minimum(torch.maximum(d + move, bottom), top)
        better = terms(trial, False)[0] <= cost
        small = ((trial - d).abs() <= tolerance * top).all(0)
        d = torch.where(better, trial, d)
        done |= small
        damping = torch.where(better, damping / 5, damping * 8).clamp(1e-6, 1e8)
        if bool(done.all()):
            break
    return d, done


def fit_spectra(
    observed: Tensor, start: Tensor, free: Tensor, problem: Problem, noise: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """The most likely thicknesses (l, p) [nm] of spectra (e, p), and whether each pixel converged (p,), from
    ``start``; only those that are ``free`` (l, p) move. Noise is multiplicative, of that relative level."""
    forward = problem.forward

    def terms(d: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        model = forward.response(d)
        cost = cost_at(observed, model, noise)
        if not wanted:
            return cost, None, None
        slope = slopes(d, forward, model)
        return cost, cost_slope(observed, model, slope, noise), relative_information(slope, max(noise, NOISE_FLOOR))

    return descend(terms, start, free, forward.stack, iterations)


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
            answer = solve(sample[:, part], float(problem.noise[i]))
            thickness[i, :, part], deviation[i, :, part], volume[i, :, part], converged[i, part] = answer
    return Estimate(
        thickness.reshape(n, layers, y, x),
        deviation.reshape(n, layers, y, x),
        volume.reshape(n, problem.depth, y, x),
        converged.reshape(n, y, x),
    )


def deviation_within_range(thickness: Tensor, problem: Problem, noise: float) -> Tensor:
    """Standard deviation (l, p) [nm] at ``thickness`` (l, p): Fisher information joined to a flat prior of it."""
    slope = slopes(thickness, problem.forward, problem.forward.response(thickness))
    fisher = relative_information(slope, max(noise, NOISE_FLOOR))
    return precision_nm(fisher, problem.stack, within_range=True)
