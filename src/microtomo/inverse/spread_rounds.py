"""Inversion of a scan with lateral spread: a local solver and the surroundings of every pixel, in turn.

A solver that knows each pixel's surroundings labels the pixels; Gauss and Newton's method through the spread moves the
levels that it found; the surroundings follow. A round counts only where the misfit of the scan with all of its spread
falls, so rounds cannot swing. Subtracting from the scan what the spread adds to an estimate (deferred correction) has
the same fixed point, but over light films the difference to the local signal is up to thirty times what the film itself
changes of it, and the rounds run away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch

from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.spread_levels import LevelFit
from microtomo.physics.spread_model import SpreadModel
from microtomo.physics.surroundings import Surroundings

_LEVEL_PRICE = 12.0  # nats, as of the solver `map`
_SETTLED = 20.0  # nats: what a round must gain; labels of a few pixels at random change it by so much
_ROUNDS = 4  # of labels at levels that are held
_SEARCHES = 2  # for other levels
_THIN = 0.05  # of the range: a level that thin which all pixels of a layer have may as well be none
_BARE = 0.005  # share of the pixels that show where a layer is absent

Solver = Callable[[torch.Tensor, Problem], Estimate]


class Status(StrEnum):
    """How the rounds ended."""

    CONVERGED = "converged"
    ASTRAY = "not explained"
    ROUNDS = "rounds used up"


@dataclass(frozen=True)
class Round:
    """An estimate (of a batch of one), its thickness (l, y, x) [nm] with levels fitted through the spread, the logarithm
    of the kernels' width factor and its standard deviation, that of the levels (l, y, x) [nm], the misfit in nats, and
    the mean squared residual over that of the noise."""

    estimate: Estimate
    thickness: np.ndarray
    width: float
    width_deviation: float
    deviation: np.ndarray
    cost: float
    chi_square: float
    surroundings: Surroundings


class Rounds:
    """One scan (e, y, x) with spread being solved; ``free_width`` fits the width of the kernels too."""

    def __init__(
        self, solve: Solver, observed: torch.Tensor, problem: Problem, spread: SpreadModel, *, free_width: bool = True
    ) -> None:
        self._solve, self._problem, self._spread, self._free = solve, problem, spread, free_width
        self._scan = observed
        self._observed = observed.double().cpu().numpy()
        self._noise = max(float(problem.noise[0]), NOISE_FLOOR)
        self._fit = LevelFit(self._observed, spread, self._noise)
        self.count = 0

    def run(self, start: np.ndarray, width: float = 0.0) -> tuple[Round, Status]:
        """The round with the least misfit from a start (l, y, x) [nm], and how the rounds ended."""
        best, settled = self.settle(self.round(self._around(start, width), width))
        for _ in range(_SEARCHES):
            before = best.cost
            for trial in (self._bare(best), self.round(best.surroundings, best.width)):
                if trial is not None:
                    trial, done = self.settle(trial)
                    best, settled = (trial, done) if trial.cost < best.cost else (best, settled)
            if best.cost > before - _SETTLED:
                break
        if not settled:
            return best, Status.ROUNDS
        return best, Status.CONVERGED if best.chi_square < self._explained() else Status.ASTRAY

    def settle(self, best: Round) -> tuple[Round, bool]:
        """Rounds of labels at the levels of a round, as long as the misfit falls, and whether it has stopped to."""
        for _ in range(_ROUNDS):
            trial = self.round(best.surroundings, best.width, best.thickness)
            gain = best.cost - trial.cost
            if gain > 0:
                best = trial
            if gain < _SETTLED:
                return best, True
        return best, False

    def round(self, given: Surroundings, width: float, levels: np.ndarray | None = None) -> Round:
        """A solution in given surroundings, at the levels of a thickness (l, y, x) [nm] if one is given, and the fit of
        its levels."""
        self.count += 1
        known = None if levels is None else _levels(levels)
        problem = replace(self._problem, forward=given.typical, surroundings=given, levels=known)
        estimate = self._solve(self._scan[None], problem)
        return self._fitted(estimate, estimate.thickness[0].double().cpu().numpy(), width)

    def _fitted(self, estimate: Estimate, thickness: np.ndarray, width: float) -> Round:
        found = self._fit(thickness, width, free_width=self._free)
        deviation, width_deviation = np.zeros(thickness.shape), 0.0
        if found is not None:
            thickness, width = found.thickness, found.width
            deviation, width_deviation = found.deviation, found.width_deviation
        given = self._around(thickness, width)
        residual = (self._observed / given.signal(given.estimate) - 1) / self._noise
        levels = 0 if found is None else sum(len(np.unique(layer)) for layer in thickness)
        cost = float((residual**2).sum()) / 2 + _LEVEL_PRICE * levels
        mean = float((residual**2).mean())
        return Round(estimate, given.estimate, width, width_deviation, deviation, cost, mean, given)

    def _around(self, thickness: np.ndarray, width: float) -> Surroundings:
        return Surroundings.of(self._spread.with_kernels(self._spread.kernels.scaled(float(np.exp(width)))), thickness)[
            0
        ]

    def _bare(self, best: Round) -> Round | None:
        """The same without a thin even film, if there is one: next to nothing else tells it from none."""
        thickness = best.thickness.copy()
        for layer, top in zip(thickness, self._spread.stack.max_nm, strict=True):
            present = layer[layer > 0]
            if (layer == 0).mean() < _BARE and present.size and present.min() < _THIN * top:
                layer[layer > 0] -= present.min()
        if (thickness == best.thickness).all():
            return None
        return self._fitted(best.estimate, thickness, best.width)

    def _explained(self) -> float:
        """Largest mean squared residual, in units of the noise, of a scan that is explained: noise is known to a few
        per cent, and the kernels err."""
        return _EXPLAINED


_EXPLAINED = 1.1


def _levels(thickness: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.unique(np.append(layer, 0.0))).double() for layer in thickness)
