"""Whether the reconstruction of a scan can be trusted, what is likely wrong where not, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from microtomo.acquisition.normalisation import Normalisation
from microtomo.inverse.drift import drifts
from microtomo.inverse.edges import Edges, measure_edges
from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.residuals import Groups, group_residuals, inner_pixels
from microtomo.inverse.screening import Screened
from microtomo.inverse.suspects import name_cause, refit
from microtomo.scan import Verdict

FAR = 6.0
"""Standard deviations of a group's chi-square, of a drift or of a blur from which on it is no accident."""
SMALL, SMALL_NOISE = 2e-4, 0.01
"""Residual that no verdict rests on, relative and in units of the noise: solvers leave as much where levels are merged
(validation scans)."""
_RAGGED, _WINDOW = 0.4, 5  # share of pixels like their neighbours below which answers hold noise; pixels a side
_BLUR, _BLUR_FAR = 0.2, 10.0  # share of the neighbours, and its standard deviations

GAIN_ERRORS = 2.0
"""Standard errors of a gain that was applied which the groups may share."""

ADVICE = {
    "gain": "normalise every energy to bare substrate (--substrate ROWS,COLUMNS), without --as-is",
    "normalisation": "normalise every energy to bare substrate (--substrate ROWS,COLUMNS), without --as-is",
    "vignetting": "divide by an image of an even sample, or leave --as-is out",
    "energy offset": "check the beam energies (--energies), or calibrate on a standard (`microtomo calibrate`)",
    "forward model": "reconstruct with the forward model that is named (--forward)",
    "stack": "check the materials of the stack (--stack); raising max_nm does not help",
    "unknown material": "crop that region, or give a stack that has its material (--stack); max_nm does not help",
    "spread": "pass --spread and --beam-nm, or scan finer pixels with a narrower beam",
    "drift": "register the images (`microtomo import`), or record them faster",
    "outliers": "mend or mask the detector's hot and dead pixels; the values are left out here",
    "physics": "check stack, forward model, energies and normalisation",
}
"""What to do about each cause."""


@dataclass(frozen=True)
class Evidence:
    """All that a verdict on one scan rests on: ``groups`` of like answers, what those whose answer was wrong leave at
    their own best thickness (``refitted``; the same where none is suspect), the ``edges``, and the residual that is
    too ``small`` to judge by."""

    groups: Groups
    refitted: Groups
    edges: Edges
    small: float


def verdicts_of(
    signal: Tensor, estimate: Estimate, problem: Problem, screened: Screened, undone: Sequence[list[float] | None] = ()
) -> tuple[Verdict, ...]:
    """A verdict on each of the scans (n, e, y, x) that were solved: ``screened``, or less their spread, or with the
    drifts ``undone`` [pixels]."""
    return tuple(
        _verdict(
            evidence(signal[i], estimate.thickness[i], problem, float(screened.noise[i]), screened.gain_error(i)),
            problem,
            screened.normalisation[i],
            screened.rejected[i],
            undone[i] if undone else None,
        )
        for i in range(len(signal))
    )


def evidence(observed: Tensor, thickness: Tensor, problem: Problem, noise: float, gain_error: float = 0.0) -> Evidence:
    """What a scan (e, y, x) of that relative noise level leaves at thickness (l, y, x) [nm]; all of it may be off by
    ``gain_error``, relative, at each energy.

    A method that takes each pixel for itself fits its noise, too: like answers then have like noise, and groups of them
    say nothing. The median over the pixels around takes the place of such answers.
    """
    noise = max(noise, NOISE_FLOOR)
    ragged = float(inner_pixels(thickness.double().cpu().numpy(), problem).mean()) < _RAGGED
    if ragged:
        smooth = median_filter(thickness.cpu().numpy(), (1, _WINDOW, _WINDOW), mode="nearest")
        thickness = torch.from_numpy(smooth).to(thickness)
    model = problem.forward.image(thickness)
    residual = (observed / model - 1).cpu().numpy()
    groups = group_residuals(residual, observed, thickness, problem, noise)
    edges = measure_edges(residual, model.cpu().numpy(), ~groups.inner, noise)
    small = max(SMALL, SMALL_NOISE * noise, GAIN_ERRORS * gain_error)
    refitted = refit(groups, problem.forward) if suspect(groups, small) else groups
    # a median rounds corners, which looks like a blur
    return Evidence(groups, refitted, replace(edges, blur=0.0) if ragged else edges, small)


def suspect(groups: Groups, small: float) -> bool:
    """Whether groups, alone or together, differ from what the physics gives by more than noise, and by more than the
    ``small`` residual that solvers leave."""
    return worst_deviation(groups) > FAR and groups.excess(groups.rest) > small


def worst_deviation(groups: Groups) -> float:
    """The most standard deviations by which groups, alone, all together, or all with one layer, differ from noise."""
    there = groups.thickness > 0
    alone = float(groups.deviations.max(initial=0.0))
    pooled = [np.ones(len(there), bool), *(there[:, k] for k in range(there.shape[1]))]
    return max([alone, *(groups.shared_deviations(which) for which in pooled)])


def _verdict(
    found: Evidence, problem: Problem, normal: Normalisation | None, rejected: Tensor, drift: list[float] | None
) -> Verdict:
    groups, edges = found.refitted, found.edges
    residual, limit = groups.excess(groups.rest), max(found.small, _noise_limit(groups))
    cause, text, where = "none", "", None
    if suspect(groups, found.small):
        cause, text, where = name_cause(groups, problem, normal)
    elif drifts(edges):
        moved = float(np.hypot(*edges.drift_px))
        cause, text = "drift", f"the edges move by {moved:.1f} pixels from the first energy to the last"
    elif edges.blur_deviations > _BLUR_FAR and edges.blur > _BLUR:
        cause, text = "spread", f"the edges are blurred by about {(edges.blur / 2) ** 0.5:.1f} pixels"
    if cause == "none" and found.refitted is not found.groups:
        text = "other thicknesses explain some regions better: levels that lie close were merged"
    corrected = normal is not None and normal.state == "corrected"
    done = [normal.text] if corrected and normal is not None else []
    done += [] if drift is None else [f"a drift of {float(np.hypot(drift[0], drift[1])):.1f} pixels was undone"]
    return Verdict(
        trusted=cause == "none",
        cause=cause,
        text=text,
        advice=ADVICE.get(cause, ""),
        residual=residual,
        limit=limit,
        where=where,
        correction="; ".join(done),
        gain=tuple(float(g) for g in normal.gain) if corrected and normal is not None else (),
        rejected=int(rejected.sum(dtype=torch.long)),
    )


def _noise_limit(groups: Groups) -> float:
    """The residual that the limit of the deviations comes to for the largest group."""
    if not len(groups.pixels):
        return 0.0
    most, free = float(groups.pixels.max()), float(groups.free.max())
    return groups.noise * float(np.sqrt(FAR * (2 * free) ** 0.5 / most / groups.rest.shape[1]))
