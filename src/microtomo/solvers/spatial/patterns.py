"""Which layers are there at all: all combinations of present and absent ones, each fitted to a pixel's surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from microtomo.inverse.misfit import Grid, cost_at
from microtomo.inverse.pixelwise import fit_spectra
from microtomo.inverse.problem import Problem
from microtomo.solvers.spatial.belief_propagation import beliefs, joint_cost

_WINDOW = 7  # pixels a side that are fitted together
_STEPS = 3  # of the fit of a pattern's thicknesses
_AT_ONCE = 2**22  # misfits held at a time
_BORDER = 2.0  # nats that a layer's end costs between two neighbours
_PRICE = 0.1  # nats for each layer that a pixel has: what a fit gains by chance
_LOCAL = 1.0  # nats that thicknesses of one's own cost against those of the field


@dataclass(frozen=True)
class Patterns:
    """The combinations (c, l) bool of layers, the best thicknesses of each around every pixel (c, l, y, x) [nm], and
    each pixel's misfit with them (y, x, c)."""

    layers: Tensor
    thickness: Tensor
    cost: Tensor


def fit_patterns(observed: Tensor, grid: Grid, problem: Problem, noise: float) -> Patterns:
    """Fit every combination of layers to the mean of the 7 x 7 pixels around each pixel of a scan (e, y, x)."""
    size, count = observed.shape[1:], len(problem.stack.layers)
    layers = torch.tensor(list(product((False, True), repeat=count)), device=observed.device)
    mean = avg_pool2d(observed[:, None], _WINDOW, 1, _WINDOW // 2, count_include_pad=False)[:, 0].flatten(1)
    local = noise / _WINDOW
    present = (grid.thickness > 0).to(observed.device)
    thickness = observed.new_empty((len(layers), count, mean.shape[1]))
    rows = max(1, _AT_ONCE // len(grid))
    for first in range(0, mean.shape[1], rows):
        part = slice(first, first + rows)
        misfit = grid.misfit(mean[:, part], local)
        for i, there in enumerate(layers):
            fitting = torch.nonzero((present == there[:, None]).all(0))[:, 0]
            thickness[i, :, part] = grid.thickness.to(observed)[:, fitting[misfit[:, fitting].argmin(1)]]
    cost = observed.new_empty((*size, len(layers)))
    for i, there in enumerate(layers):
        if bool(there.any()):
            thickness[i] = fit_spectra(mean, thickness[i], thickness[i] > 0, problem, local, _STEPS)[0]
        model = problem.forward.response(thickness[i])
        cost[..., i] = cost_at(observed.flatten(1), model, noise).reshape(size)
    return Patterns(layers, thickness.reshape(*thickness.shape[:2], *size), cost)


def chances(patterns: Patterns, cost: Tensor | None = None) -> Tensor:
    """Probability (l, y, x) that each layer is present, by belief propagation between neighbours. ``cost`` (y, x, c)
    is the misfit with thicknesses known from elsewhere, where those may be better."""
    least = patterns.cost if cost is None else cost.minimum(patterns.cost + _LOCAL)
    least = least + _PRICE * patterns.layers.sum(1)
    count = patterns.layers.shape[1]
    belief = beliefs(least.float(), joint_cost((2,) * count, _BORDER, _BORDER), 3)
    return (belief @ patterns.layers.to(belief)).movedim(-1, 0)
