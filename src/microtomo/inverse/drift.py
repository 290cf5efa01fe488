"""Scans whose images move steadily from energy to energy: found by the edges of the solution, and undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from microtomo.inverse.edges import Edges, measure_edges
from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.residuals import inner_pixels
from microtomo.inverse.spread import Corrected
from microtomo.inverse.spread_rounds import Solver
from microtomo.simulate.microscope import shifted

DRIFT_PX, DRIFT_FAR = 0.2, 10.0
"""Drift from the first energy to the last that counts [pixels], and its standard deviations: right scans show less than
0.1 and 3 (validation scans)."""
_ROUNDS = 4  # of solving again: the drift is then known to 0.05 pixels
_LARGEST = 3.0  # [pixels]: further off, images are to be registered first
DRIFT = "drift_px"
"""Key of the undone drift in a reconstruction's history: rows and columns, None where there was none."""


def edges_of(observed: Tensor, thickness: Tensor, problem: Problem, noise: float) -> Edges:
    """What the edges of a solution (l, y, x) [nm] leave of a scan (e, y, x) of that noise level."""
    model = problem.forward.image(thickness)
    near = ~inner_pixels(thickness.double().cpu().numpy(), problem)
    return measure_edges((observed / model - 1).cpu().numpy(), model.cpu().numpy(), near, max(noise, NOISE_FLOOR))


def drifts(edges: Edges) -> bool:
    """Whether edges move by more than accident."""
    return edges.drift_deviations > DRIFT_FAR and float(np.hypot(*edges.drift_px)) > DRIFT_PX


def undo_drift(run: Solver, done: Corrected, problem: Problem) -> Corrected:
    """The same scans (n, e, y, x) solved as if nothing had moved, where something did.

    The images stay as they were recorded, and the solution as sharp as it is: what a shift does to the re-simulated
    images, as a factor, is taken from the recorded ones, and the scan is solved again, until the edges agree. The
    history says by how many pixels each scan moved.
    """
    signal, found = list(done.signal), []
    estimates = [_one(done.estimate, i) for i in range(len(signal))]
    for i, recorded in enumerate(done.signal):
        alone = replace(problem, noise=problem.noise[i : i + 1])
        noise = float(problem.noise[i])
        total = np.zeros(2)
        for _ in range(_ROUNDS):
            edges = edges_of(signal[i], estimates[i].thickness[0], alone, noise)
            if not (total.any() or drifts(edges)) or np.hypot(*(total + edges.drift_px)) > _LARGEST:
                break
            total = total + edges.drift_px
            model = problem.forward.image(estimates[i].thickness[0])
            signal[i] = recorded * model / _moved(model, total)
            estimates[i] = run(signal[i][None], alone)
        found.append([float(t) for t in total] if total.any() else None)
    if not any(found):
        return done
    whole = Estimate(*(torch.cat([getattr(e, name) for e in estimates]) for name in Estimate.__dataclass_fields__))
    return Corrected(torch.stack(signal), whole, {**done.history, DRIFT: found})


def _one(estimate: Estimate, i: int) -> Estimate:
    return Estimate(*(getattr(estimate, name)[i : i + 1] for name in Estimate.__dataclass_fields__))


def _moved(images: Tensor, drift_px: np.ndarray) -> Tensor:
    """Images (e, y, x) moved steadily by ``drift_px`` from the first to the last, the middle one in place."""
    margin = int(np.ceil(np.abs(drift_px).max())) + 1
    wide = torch.nn.functional.pad(images[None], (margin,) * 4, mode="replicate")[0]
    at = np.linspace(-0.5, 0.5, len(images))[:, None] * drift_px
    return torch.stack([shifted(image, float(dy), float(dx), margin) for image, (dy, dx) in zip(wide, at, strict=True)])
