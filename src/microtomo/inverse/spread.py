"""Scans with lateral spread through solvers that know each pixel alone: deferred correction around any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtomo.inverse.deferred import Deferred, deferred_correction
from microtomo.inverse.nonlocal_fit import fit_with_spread
from microtomo.inverse.problem import Estimate, Problem
from microtomo.physics.spread_model import SpreadModel

WIDER = 1.15
"""Radii of the other kernel that counts as one standard deviation: exit radii by Mott's and by Browning's
cross-sections differ by more than this in silicon at 10 keV, codes with the same cross-sections by a few per cent."""
_WORTH_SAYING = 0.01  # share of the electrons that leave outside the field

CORRECTION = "correction"
"""Key of the correction in a reconstruction's history."""

Run = Callable[[Tensor, Problem], Estimate]
"""A local method with its options."""


@dataclass(frozen=True)
class Corrected:
    """A corrected scan (n, e, y, x), its estimate, and what a summary says of the correction (plain values)."""

    signal: Tensor
    estimate: Estimate
    history: dict[str, Any]


def run_with_spread(run: Run, signal: Tensor, problem: Problem, spread: SpreadModel) -> Corrected:
    """Estimate of scans (n, e, y, x) whose electrons leave elsewhere than they entered.

    The error bars hold, in quadrature, what is left of the correction: a kernel that is 15 % wider, and where the field
    is narrower than the kernel, what lies outside (the mirror image of the field in place of its edge).

    Raises
    ------
    MicrotomoError
        For a signal of 0 or less, and all that the method raises.
    """
    done = [_one(run, sample, problem, i, spread) for i, sample in enumerate(signal)]
    estimates = [estimate for _, estimate, _ in done]
    fields = ("thickness", "uncertainty", "volume", "converged")
    whole = Estimate(**{name: torch.cat([getattr(e, name) for e in estimates]) for name in fields})
    history = {
        **spread.history["spread"],
        "rounds": [len(result.residuals) for _, _, result in done],
        "status": [str(result.status) for _, _, result in done],
        "residual": [min(result.residuals) for _, _, result in done],
        "left_nm": [float(result.thickness_uncertainty.mean()) for _, _, result in done],
        "outside": float(spread.operator.assumed(*signal.shape[-2:]).max()),
    }
    return Corrected(torch.stack([sample for sample, _, _ in done]), whole, {CORRECTION: history})


def note(history: dict[str, Any]) -> str | None:
    """A sentence about electrons that leave outside the field of view, where they are more than a few."""
    share = history.get(CORRECTION, {}).get("outside", 0.0)
    if share < _WORTH_SAYING:
        return None
    return (
        f"at the highest beam energy {share:.0%} of the substrate's electrons leave outside the field of view, where "
        "the films are assumed to go on as at its edge; what else may lie there is in the error bars"
    )


def outcome(history: dict[str, Any]) -> str | None:
    """How the correction went, for a summary; None where there was none."""
    if CORRECTION not in history:
        return None
    rounds, status = history[CORRECTION]["rounds"], history[CORRECTION]["status"]
    ends = ", ".join(f"{status.count(s)} {s}" if len(status) > 1 else s for s in dict.fromkeys(status))
    counted = f"{min(rounds)} to {max(rounds)}" if min(rounds) < max(rounds) else f"{rounds[0]}"
    return f"spread corrected in {counted} rounds, {ends}"


def _one(
    run: Run, observed: Tensor, problem: Problem, i: int, spread: SpreadModel
) -> tuple[Tensor, Estimate, Deferred]:
    """Corrected scan (e, y, x), estimate (of a batch of one) and correction of one sample."""
    alone = replace(problem, noise=problem.noise[i : i + 1])
    solved: list[Estimate] = []
    thicknesses: list[np.ndarray] = []

    def solve_local(scan: np.ndarray) -> np.ndarray:
        solved.append(run(torch.from_numpy(scan).to(observed)[None], alone))
        thicknesses.append(solved[-1].thickness[0].double().cpu().numpy())
        return thicknesses[-1]

    def signal_of(model: SpreadModel) -> Callable[[np.ndarray], np.ndarray]:
        return lambda thickness: model.fast(thickness.astype(np.float32)).astype(np.float64)

    def local(thickness: np.ndarray) -> np.ndarray:
        return problem.forward.fast(thickness.astype(np.float32)).astype(np.float64)

    others = [spread.with_kernels(spread.kernels.scaled(WIDER))]
    if spread.operator.assumed(*observed.shape[-2:]).max() > _WORTH_SAYING:
        others.append(replace(spread, outside="mirror"))
    scan = observed.double().cpu().numpy()
    start = fit_with_spread(observed, spread, float(alone.noise[0]))
    result = deferred_correction(
        scan, solve_local, signal_of(spread), local, start=start, other_spreads=[signal_of(other) for other in others]
    )
    best = solved[next(k for k, thickness in enumerate(thicknesses) if thickness is result.thickness)]
    left = torch.from_numpy(result.thickness_uncertainty).to(best.uncertainty)
    corrected = torch.from_numpy(scan - result.correction).to(observed)
    return corrected, replace(best, uncertainty=torch.hypot(best.uncertainty, left[None])), result
