"""Where the inversion of a scan with lateral spread begins: a smooth fit through the spread itself, coarse to fine.

From bare substrate on: there the films that are needed appear first, and what they take from their neighbours is seen
as theirs. A start at the local solution calls that deficit films, and later rounds do not find back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from microtomo.physics.spread_model import SpreadModel

_BINS = (4, 2)  # pixels a side that count as one, stage by stage: finer ones are left to the solver
_EVERY = 3  # energies: every third tells the start enough
_STEPS = 60  # of L-BFGS a stage
_SMOOTHNESS = 1.0  # nats for a step between neighbours by all of a layer's range
_ROUND = 0.02  # of the range: smaller steps cost their square
_MODEL_ERROR = 0.005  # relative, beside the noise: coarse pixels hold more than one thickness
_MOST_STRETCH = 4.0  # of the range of a layer that changes the signal little, for even steps of L-BFGS


def fit_with_spread(signal: Tensor, spread: SpreadModel, noise: float) -> np.ndarray:
    """Thickness (l, y, x) [nm], float32, whose signal with spread is close to a scan (e, y, x)."""
    top = torch.tensor(spread.stack.max_nm)[:, None, None]
    thickness = torch.zeros(len(top), *signal.shape[-2:])
    for size in _BINS:
        if min(signal.shape[-2:]) >= 2 * size:
            thickness = _stage(thickness, signal, spread, noise, size)
    return np.asarray(thickness.numpy(), dtype=np.float32)


def _stage(thickness: Tensor, signal: Tensor, spread: SpreadModel, noise: float, size: int) -> Tensor:
    coarse = replace(spread, pixel_nm=spread.pixel_nm * size).with_energies(spread.energies_kev[::_EVERY])
    observed = _binned(signal.detach().cpu().float()[::_EVERY], size)
    unit = torch.tensor(spread.stack.max_nm)[:, None, None] * _stretch(coarse)
    first = _binned(thickness, size) / unit
    precision = 1 / ((noise / size) ** 2 + _MODEL_ERROR**2)

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.inference_mode(False), torch.enable_grad():
            u = torch.from_numpy(flat).float().reshape(first.shape).requires_grad_()
            misfit = (coarse(u * unit) / observed.clone() - 1).square().sum() * precision / 2
            total = misfit + _SMOOTHNESS * _roughness(u * _stretch(coarse))
            (gradient,) = torch.autograd.grad(total, u)
        return float(total.detach()), gradient.double().numpy().ravel()

    with torch.inference_mode(False):
        unit, precision = unit.clone(), float(precision)
        limit = np.repeat((1 / _stretch(coarse)).numpy().ravel(), first[0].numel())
        start = first.double().numpy().ravel()
        bounds = np.stack([np.zeros_like(limit), limit], axis=1)
        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
        values = torch.from_numpy(found.x).float().reshape(first.shape) * unit
    height, width = signal.shape[-2:]
    y, x = (torch.arange(n).div(size, rounding_mode="floor") for n in (height, width))
    rows, columns = y.clamp(max=values.shape[1] - 1), x.clamp(max=values.shape[2] - 1)
    return values[:, rows[:, None], columns[None, :]]


def _stretch(spread: SpreadModel) -> Tensor:
    """How many times its range each layer (l, 1, 1) is stretched, by how little it changes the local signal."""
    with torch.inference_mode(False), torch.no_grad():
        depth = torch.diag(torch.tensor(spread.stack.max_nm))[:, None]
        swing = spread.base(depth)[:, 0].log().square().mean(0).sqrt()
        return (swing.max() / swing).clamp(max=_MOST_STRETCH)[:, None, None].clone()


def _roughness(share: Tensor) -> Tensor:
    """Rounded total variation of thicknesses in shares of their range."""
    steps = [share.diff(dim=-1), share.diff(dim=-2)]
    return torch.stack([(torch.sqrt(step**2 + _ROUND**2) - _ROUND).sum() for step in steps]).sum()


def _binned(field: Tensor, size: int) -> Tensor:
    """Means over squares of pixels (k, y, x); a rest at the far edges is left out."""
    k, height, width = field.shape
    whole = field[:, : height // size * size, : width // size * size]
    return whole.reshape(k, height // size, size, width // size, size).mean((2, 4))
