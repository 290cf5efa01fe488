"""Inversion of a scan with lateral spread: a local solver and the surroundings of every pixel, in turn.

A solver that knows each pixel's surroundings labels the pixels; Gauss and Newton's method through the spread moves the
levels that it found; the surroundings follow. The round with the least misfit of the scan with all of its spread is the
answer, so rounds that swing do no harm. Subtracting from the scan what the spread adds to an estimate (deferred
correction) has the same fixed point, but over light films the difference to the local signal is up to thirty times what
the film itself changes of it, and the rounds run away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch

from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.inverse.nonlocal_fit import fit_with_spread
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.spread_levels import MOST_LEVELS, LevelFit, Levels
from microtomo.physics.spread_model import SpreadModel
from microtomo.physics.surroundings import Surroundings

_LEVEL_PRICE = 12.0  # nats, as of the solver `map`
_FIELD_PIXELS = 16  # pixels of each number of continuous thickness, a nat each (Akaike 1974): splines every 4 pixels
_SETTLED = 100.0  # nats between a round and the best: a few pixels on borders change by so much
_ROUNDS, _SEARCH_EVERY = 10, 2  # rounds at most; every so many look for other levels, the rest keep them
_WORTH_ANOTHER_FIT = 0.03  # logarithm of the kernels' width: the smooth fit errs little more at so much
_TWINS = 0.02  # of the range: levels as close are one
_EVEN = 12  # even levels of each layer by which continuous thickness is fitted: few enough to be levels
_THIN = 0.05  # of the range: a film that thin which more pixels have than have none may as well be none
_EXPLAINED = 1.05  # mean squared residual, in units of the noise, of a scan that is explained

Solver = Callable[[torch.Tensor, Problem], Estimate]


class Status(StrEnum):
    """How the rounds ended."""

    CONVERGED = "converged"
    ASTRAY = "not explained"
    ROUNDS = "rounds used up"


@dataclass(frozen=True)
class Round:
    """An estimate (of a batch of one), and its levels as they were fitted through the spread.

    ``cost`` is the misfit in nats, ``chi_square`` the mean squared residual over that of the noise; ``held`` (l, y, x)
    [nm] is on the levels that the next round may keep; ``on_levels`` says whether thickness is, or is continuous.
    """

    estimate: Estimate
    fitted: Levels
    cost: float
    chi_square: float
    surroundings: Surroundings
    held: np.ndarray
    on_levels: bool

    @property
    def thickness(self) -> np.ndarray:
        """Thickness (l, y, x) [nm]."""
        return self.fitted.thickness

    @property
    def width(self) -> float:
        """Logarithm of the factor on the kernels' radii."""
        return self.fitted.width


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

    def run(self) -> tuple[Round, Status]:
        """The round with the least misfit, and how the rounds ended."""
        best = last = self._first()
        settled = False
        for turn in range(1, _ROUNDS):
            trial = self.round(last.surroundings, last.width, last.held if turn % _SEARCH_EVERY else None)
            settled = abs(trial.cost - best.cost) < _SETTLED
            best = trial if trial.cost < best.cost else best
            last = trial if trial.on_levels or not best.on_levels else best
            if settled:
                break
        if best.chi_square > _EXPLAINED:
            return best, Status.ASTRAY
        return best, Status.CONVERGED if settled else Status.ROUNDS

    def _first(self) -> Round:
        """The round after a smooth fit; where that says that the kernels are another width, the fit is made again."""
        first = self._from_fit(0.0)
        return first if abs(first.width) < _WORTH_ANOTHER_FIT else self._from_fit(first.width)

    def _from_fit(self, width: float) -> Round:
        start = fit_with_spread(self._scan, self._widened(width), self._noise)
        return self.round(self._around(start, width), width)

    def round(self, given: Surroundings, width: float, levels: np.ndarray | None = None) -> Round:
        """A solution in given surroundings, at the levels of a thickness (l, y, x) [nm] if one is given, and the fit of
        its levels."""
        self.count += 1
        known = None if levels is None else _levels(levels)
        problem = replace(self._problem, forward=given.typical, surroundings=given, levels=known)
        estimate = self._solve(self._scan[None], problem)
        return self._fitted(estimate, estimate.thickness[0].double().cpu().numpy(), width)

    def _fitted(self, estimate: Estimate, thickness: np.ndarray, width: float) -> Round:
        thickness = self._tidied(thickness)
        fitted = self._fit(thickness, width, free_width=self._free)
        levels = fitted is not None
        if fitted is None:
            held, fitted = self._evened(thickness, width)
        else:
            held = fitted.thickness
        given = self._around(fitted.thickness, fitted.width)
        residual = (self._observed / given.signal(given.estimate) - 1) / self._noise
        price = fitted.thickness.size / _FIELD_PIXELS
        if levels:
            price = _LEVEL_PRICE * sum(len(np.unique(layer)) for layer in fitted.thickness)
        cost = float((residual**2).sum()) / 2 + price
        return Round(estimate, fitted, cost, float((residual**2).mean()), given, held, levels)

    def _evened(self, thickness: np.ndarray, width: float) -> tuple[np.ndarray, Levels]:
        """Continuous thickness rounded to even levels that were then fitted, and its own fit: the shifts that these
        ask for, linear between them."""
        steps = np.array(self._spread.stack.max_nm, dtype=np.float32)[:, None, None] / _EVEN
        even = np.where(thickness > 0, np.maximum(np.round(thickness / steps), 1) * steps, 0).astype(np.float32)
        fitted = self._fit(even, width, free_width=self._free)
        assert fitted is not None, "few levels"
        moved = thickness.copy()
        for layer, before, after, top in zip(moved, even, fitted.thickness, self._spread.stack.max_nm, strict=True):
            levels, first = np.unique(before, return_index=True)
            shift = np.interp(layer, levels, after.ravel()[first] - levels)
            layer[:] = np.where(layer > 0, np.clip(layer + shift, 0, top), 0)
        return fitted.thickness, replace(fitted, thickness=moved)

    def _around(self, thickness: np.ndarray, width: float) -> Surroundings:
        return Surroundings.of(self._widened(width), thickness)[0]

    def _widened(self, width: float) -> SpreadModel:
        return self._spread.with_kernels(self._spread.kernels.scaled(float(np.exp(width))))

    def _tidied(self, thickness: np.ndarray) -> np.ndarray:
        """The same with levels joined that are next to each other, and without a thin even film, if there is one: next
        to nothing else tells it from none, and the fit of the levels brings it back where it is needed."""
        tidy = np.array(thickness, dtype=np.float32)
        for layer, top in zip(tidy, self._spread.stack.max_nm, strict=True):
            levels, counts = np.unique(layer, return_counts=True)
            if len(levels) > MOST_LEVELS:
                return tidy
            for group in np.split(np.arange(len(levels)), 1 + np.flatnonzero(np.diff(levels) > _TWINS * top)):
                joined = 0.0 if levels[group[0]] == 0 else np.average(levels[group], weights=counts[group])
                layer[np.isin(layer, levels[group])] = joined
            present = layer[layer > 0]
            if present.size and present.min() < _THIN * top and (layer == present.min()).sum() > (layer == 0).sum():
                layer[layer > 0] -= present.min()
        return tidy


def _levels(thickness: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.unique(np.append(layer, 0.0))).double() for layer in thickness)
