"""Scans with lateral spread through any method: what surrounds the pixels is found with `map`, which can be told it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.spread_levels import KERNEL_DEVIATION, LevelFit
from microtomo.inverse.spread_rounds import Round, Rounds, Solver, Status
from microtomo.physics.spread_model import SpreadModel
from microtomo.physics.surroundings import Surroundings
from microtomo.registry import get_method
from microtomo.voxels import thickness_to_volume

SURROUNDED = "map"
"""The method that can be told what surrounds every pixel; it finds the surroundings for all others."""
_WORTH_SAYING = 0.01  # share of the electrons that leave outside the field
_ROUND = 0.01  # of the range: a level that moves by less draws the same volume (see `map`)

CORRECTION = "correction"
"""Key of the correction in a reconstruction's history."""


@dataclass(frozen=True)
class Corrected:
    """A corrected scan (n, e, y, x), its estimate, and what a summary says of the correction (plain values)."""

    signal: Tensor
    estimate: Estimate
    history: dict[str, Any]


@dataclass(frozen=True)
class _Sample:
    """One corrected scan (e, y, x), its estimate (of a batch of one), and how that was found."""

    signal: Tensor
    estimate: Estimate
    best: Round
    status: Status
    rounds: int
    left_nm: float


def run_with_spread(name: str, run: Solver, signal: Tensor, problem: Problem, spread: SpreadModel) -> Corrected:
    """Estimate of scans (n, e, y, x) whose electrons leave elsewhere than they entered, by the method of that name.

    `map` is told what surrounds every pixel. Other methods see the scan as it would be without spread, by what `map`
    finds. The kernels' width is fitted with the levels, 15 % being its standard deviation before the scan is seen. The
    error bars hold, in quadrature, what that leaves open, and where the field is narrower than the kernel, what lies
    outside (the mirror image of the field in place of its edge); all wider by as much as the misfit exceeds the noise.

    Raises
    ------
    MicrotomoError
        For all that the method raises.
    """
    done = [_one(name, run, sample, problem, i, spread) for i, sample in enumerate(signal)]
    fields = ("thickness", "uncertainty", "volume", "converged")
    whole = Estimate(**{field: torch.cat([getattr(one.estimate, field) for one in done]) for field in fields})
    history = {
        **spread.history["spread"],
        "rounds": [one.rounds for one in done],
        "status": [str(one.status) for one in done],
        "chi_square": [one.best.chi_square for one in done],
        "kernel_width": [float(np.exp(one.best.width)) for one in done],
        "kernel_width_deviation": [one.best.fitted.width_deviation for one in done],
        "left_nm": [one.left_nm for one in done],
        "outside": float(spread.operator.assumed(*signal.shape[-2:]).max()),
    }
    return Corrected(torch.stack([one.signal for one in done]), whole, {CORRECTION: history})


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
    correction = history[CORRECTION]
    rounds, status, widths = correction["rounds"], correction["status"], correction["kernel_width"]
    ends = ", ".join(f"{status.count(s)} {s}" if len(status) > 1 else s for s in dict.fromkeys(status))
    counted = f"{min(rounds)} to {max(rounds)}" if min(rounds) < max(rounds) else f"{rounds[0]}"
    return f"spread corrected in {counted} rounds, {ends}; kernels {np.mean(widths):.2f} times as wide fit best"


def _one(name: str, run: Solver, observed: Tensor, problem: Problem, i: int, spread: SpreadModel) -> _Sample:
    alone = replace(problem, noise=problem.noise[i : i + 1])
    solve = run if name == SURROUNDED else get_method(SURROUNDED).run
    rounds = Rounds(solve, observed, alone, spread)
    best, status = rounds.run()
    found = best.surroundings
    ratio = problem.forward.fast(found.estimate) / found.signal(found.estimate)
    corrected = observed * torch.from_numpy(ratio).to(observed)
    estimate = _at_levels(best, alone) if name == SURROUNDED else run(corrected[None], alone)
    left = _left(observed, best, alone, spread, solve)
    wider = torch.hypot(estimate.uncertainty, torch.from_numpy(left).to(estimate.uncertainty)[None])
    wider = wider * max(1.0, best.chi_square) ** 0.5
    return _Sample(corrected, replace(estimate, uncertainty=wider), best, status, rounds.count, float(left.mean()))


def _at_levels(best: Round, problem: Problem) -> Estimate:
    """The estimate of a round with the levels as they were fitted."""
    thickness = torch.from_numpy(best.thickness).to(best.estimate.thickness)[None]
    top = thickness.new_tensor(problem.stack.max_nm)[:, None, None]
    volume = best.estimate.volume
    if bool(((thickness - best.estimate.thickness).abs() > _ROUND * top).any()):
        reached = torch.where(thickness > 0, (thickness + _ROUND * top).minimum(top), 0.0)
        volume = thickness_to_volume(reached, problem.depth, problem.voxel_nm, problem.rule).to(volume)
    return replace(best.estimate, thickness=thickness, volume=volume)


def _left(observed: Tensor, best: Round, problem: Problem, spread: SpreadModel, solve: Solver) -> np.ndarray:
    """Standard deviation (l, y, x) [nm] that the kernels and the outside leave."""
    noise = float(problem.noise[0])
    scan = observed.double().cpu().numpy()
    kernels = spread.kernels.scaled(float(np.exp(best.width)))
    left = best.fitted.deviation
    others = [] if best.on_levels else [spread.with_kernels(kernels.scaled(1 + KERNEL_DEVIATION))]
    if spread.operator.assumed(*scan.shape[1:]).max() > _WORTH_SAYING:
        others.append(replace(spread, kernels=kernels, outside="mirror"))
    for other in others:
        moved = LevelFit(scan, other, noise)(best.thickness, 0.0, free_width=False) if best.on_levels else None
        if moved is not None:
            left = np.hypot(left, moved.thickness - best.thickness)
        else:
            given = Surroundings.of(other, best.thickness)[0]
            again = solve(observed[None], replace(problem, forward=given.typical, surroundings=given))
            left = np.hypot(left, again.thickness[0].double().cpu().numpy() - best.thickness)
    return np.asarray(left, dtype=np.float32)
