"""Whether the reconstruction of a scan can be trusted, what is likely wrong where not, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtomo.acquisition.normalisation import Normalisation
from microtomo.inverse.edges import Edges, measure_edges
from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.residuals import Groups, group_residuals
from microtomo.inverse.screening import Screened
from microtomo.inverse.suspects import name_cause
from microtomo.scan import Verdict

FAR = 6.0
"""Standard deviations of a group's chi-square, of a drift or of a blur from which on it is no accident."""
SMALL = 2e-4
"""Relative residual that no verdict rests on: solvers leave as much where levels are few (validation scans)."""
_MANY_REJECTED = 2e-3  # share of the values
_DRIFT_PX, _DRIFT_FAR = 0.2, 10.0  # from the first energy to the last, and its standard deviations
_BLUR, _BLUR_FAR = 0.1, 10.0  # share of the neighbours, and its standard deviations

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
    """All that a verdict on one scan rests on."""

    groups: Groups
    edges: Edges
    problem: Problem
    normalisation: Normalisation | None

    @property
    def worst(self) -> float:
        """The most standard deviations by which groups, alone or together, differ from what the physics gives."""
        there = self.groups.thickness > 0
        alone = float(self.groups.deviations.max(initial=0.0))
        pooled = [np.ones(len(there), bool), *(there[:, k] for k in range(there.shape[1]))]
        return max([alone, *(self.groups.shared_deviations(which) for which in pooled)])


def verdicts_of(signal: Tensor, estimate: Estimate, problem: Problem, screened: Screened) -> tuple[Verdict, ...]:
    """A verdict on each of the scans (n, e, y, x) that were solved: ``screened``, or less their spread."""
    return tuple(
        _verdict(
            _evidence(signal[i], estimate.thickness[i], problem, float(screened.noise[i]), screened.normalisation[i]),
            screened.normalisation[i],
            screened.rejected[i],
        )
        for i in range(len(signal))
    )


def _evidence(
    observed: Tensor, thickness: Tensor, problem: Problem, noise: float, normalisation: Normalisation | None
) -> Evidence:
    noise = max(noise, NOISE_FLOOR)
    model = problem.forward.image(thickness)
    residual = (observed / model - 1).cpu().numpy()
    groups = group_residuals(residual, observed, thickness, problem, noise)
    edges = measure_edges(residual, model.cpu().numpy(), ~groups.inner, noise)
    return Evidence(groups, edges, problem, normalisation)


def _verdict(evidence: Evidence, normal: Normalisation | None, rejected: Tensor) -> Verdict:
    groups, edges = evidence.groups, evidence.edges
    residual, limit = groups.excess(groups.rest), _limit(groups)
    cause, text, where = "none", "", None
    drift = float(np.hypot(*edges.drift_px))
    if evidence.worst > FAR and residual > SMALL:
        cause, text, where = name_cause(groups, evidence.problem, normal)
    elif edges.drift_deviations > _DRIFT_FAR and drift > _DRIFT_PX:
        cause, text = "drift", f"the edges move by {drift:.1f} pixels from the first energy to the last"
    elif edges.blur_deviations > _BLUR_FAR and edges.blur > _BLUR:
        cause, text = "spread", f"the edges are blurred by about {(edges.blur / 2) ** 0.5:.1f} pixels"
    count = int(torch.count_nonzero(rejected))
    values = int(rejected.sum(dtype=torch.long))
    if cause == "none" and values > _MANY_REJECTED * rejected.numel() * groups.rest.shape[1]:
        text = f"{count} pixels have hot or dead values"
    corrected = normal is not None and normal.state == "corrected"
    return Verdict(
        trusted=cause == "none",
        cause=cause,
        text=text,
        advice=ADVICE.get(cause, ""),
        residual=residual,
        limit=limit,
        where=where,
        correction=normal.text if corrected and normal is not None else "",
        gain=tuple(float(g) for g in normal.gain) if corrected and normal is not None else (),
        rejected=values,
    )


def _limit(groups: Groups) -> float:
    """The residual that the limits of the deviations come to for the largest group."""
    if not len(groups.pixels):
        return SMALL
    most, free = float(groups.pixels.max()), float(groups.free.max())
    return max(SMALL, groups.noise * (FAR * (2 * free) ** 0.5 / most / groups.rest.shape[1]) ** 0.5)
