"""One image being labelled: levels found, checked one by one, and reported with their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtomo.inverse.columns import most_probable_volume
from microtomo.inverse.misfit import NOISE_FLOOR, Grid, combinations, cost_at, starting_grid
from microtomo.inverse.problem import Answer, Problem
from microtomo.solvers.spatial.belief_propagation import beliefs, beliefs_and_change, energy, joint_cost, without
from microtomo.solvers.spatial.levels import (
    find_levels,
    homogeneous_blocks,
    missing_levels,
    refine_levels,
)
from microtomo.solvers.spatial.patterns import fit_patterns
from microtomo.solvers.spatial.smooth import fit_field, whiteness
from microtomo.voxels import thickness_to_volume

_BIRTHS = 3  # times that missing levels are looked for
_HINT = 0.1  # neighbours that pull together this much hint at continuous thickness
_LARGE = 700  # labels from which on a search over the whole starting grid takes too long
_SETTLED = 0.1  # share of a pixel's probability that the last round may move
_ASTRAY = 6.0  # nats that a field may be worse than the levels at a pixel


@dataclass(frozen=True)
class Prior:
    """Prices in nats: a step between neighbours by one level, by any number of levels, and a level's existence; and the
    rounds of messages of the final labelling."""

    jump: float
    most: float
    level: float
    rounds: int = 3

    def step(self, shape: tuple[int, ...]) -> np.ndarray:
        """Cost (L, L) between the labels of two neighbours."""
        return joint_cost(shape, self.jump, self.most)


@dataclass(frozen=True)
class State:
    """A set of levels with the labelling that it leads to; ``total`` is energy plus the price of the levels, and
    ``converged`` (y, x) says where the last round of messages left the beliefs as they were, if somebody asked."""

    grid: Grid
    cost: Tensor
    belief: Tensor
    total: float
    converged: Tensor | None = None


class Image:
    """One scan (e, y, x) being solved."""

    def __init__(self, observed: Tensor, problem: Problem, noise: float, prior: Prior) -> None:
        self.recorded, self.problem, self.noise, self.prior = observed, problem, noise, prior
        self.surroundings = problem.surroundings
        self.observed = observed if self.surroundings is None else self.surroundings.as_typical(observed)
        self.pixels = self.observed.flatten(1)

    def solve(self, fields: bool = True) -> tuple[Answer, Grid | None]:
        """The answer, and the levels that it rests on: none where thickness is continuous, if ``fields`` are tried."""
        coarse = starting_grid(self.problem.forward)
        blocks = homogeneous_blocks(self.observed, coarse, self.noise)
        grid, share = find_levels(blocks, coarse, self.noise)
        state = min(self.state(grid), self.state(grid, share.log()), key=lambda s: s.total)
        state = self.simplify(state)
        for _ in range(_BIRTHS):
            born = missing_levels(self.observed, blocks.floor, state.cost, state.belief, coarse, state.grid, self.noise)
            if born is None:
                break
            trial = self.simplify(self.settled(self.state(born)))
            if trial.total >= state.total:
                break
            state = trial
        grid, deviation = self.refined(state)
        state = self.final(grid)
        answer = None
        if fields and self.pull(state) > _HINT:
            answer = self.continuous(state, deviation, coarse)
        return (self.report(state, deviation), grid) if answer is None else (answer, None)

    def with_levels(self, grid: Grid) -> Answer:
        """The answer with levels that are known."""
        state = self.final(grid)
        return self.report(state, self.refined(state)[1])

    def pull(self, state: State) -> float:
        """How much the data ask for thickness between the levels."""
        label = state.belief.argmax(-1)
        thickness = state.grid.thickness.to(self.observed)[:, label]
        return whiteness(self.observed, thickness, label, self.problem, self.noise)

    def continuous(self, state: State, deviation: list[Tensor], coarse: Grid) -> Answer | None:
        """Fields instead of levels, if the criterion of Akaike (1974) prefers them: misfit plus parameters."""
        problem, size = self.problem, self.observed.shape[1:]
        if len(coarse) > _LARGE:
            coarse = state.grid
        elif problem.forward.jumps_at_zero:
            coarse = _with_thin(coarse)
        field = fit_field(
            self.observed,
            fit_patterns(self.observed, coarse, problem, self.noise),
            problem,
            self.noise,
            self.prior.rounds + 2,
        )
        levelled = state.cost.gather(-1, state.belief.argmax(-1, keepdim=True))[..., 0]
        smooth = cost_at(self.pixels, problem.forward.response(field.thickness.flatten(1)), self.noise)
        smooth = smooth.reshape(size)
        astray = smooth > levelled + _ASTRAY
        misfit = float(torch.where(astray, levelled, smooth).double().sum())
        if misfit + field.parameters > float(levelled.double().sum()) + sum(state.grid.shape):
            return None
        thickness, spread, _, done = self.report(state, deviation)
        thickness = torch.where(astray, thickness, field.thickness)
        spread = torch.where(astray, spread, field.deviation)
        volume = thickness_to_volume(thickness, problem.depth, problem.voxel_nm, problem.rule)
        return thickness, spread, volume, torch.where(astray, done, field.converged)

    def state(self, grid: Grid, favour: Tensor | None = None, rounds: int = 2) -> State:
        """The labelling of a set of levels; ``favour`` (L,) is added to the log-likelihood meanwhile."""
        cost = self.misfit(grid)
        step = self.prior.step(grid.shape)
        belief = beliefs(cost if favour is None else cost - favour.to(cost), step, rounds)
        least = cost.amin(-1, keepdim=True)
        total = energy((cost - least).cpu().numpy(), step, belief.argmax(-1).cpu().numpy())
        return State(grid, cost, belief, total + float(least.double().sum()) + self.prior.level * sum(grid.shape))

    def final(self, grid: Grid) -> State:
        """The labelling that is reported: a round more, and where it has converged."""
        cost = self.misfit(grid)
        belief, change = beliefs_and_change(cost, self.prior.step(grid.shape), self.prior.rounds)
        return State(grid, cost, belief, math.nan, change < _SETTLED)

    def misfit(self, grid: Grid) -> Tensor:
        """Negative log-likelihood (y, x, L) of every label, with each pixel's own surroundings where there are some."""
        if self.surroundings is not None:
            noise = max(self.noise, NOISE_FLOOR)
            cost = self.surroundings.misfit(self.recorded.cpu().numpy(), grid.thickness.numpy(), noise)
            return torch.from_numpy(cost).to(self.observed)
        return grid.misfit(self.pixels, self.noise).float().reshape(*self.observed.shape[1:], -1)

    def settled(self, state: State) -> State:
        """The same levels where the pixels that have them want them."""
        return self.state(self.refined(state)[0])

    def refined(self, state: State) -> tuple[Grid, list[Tensor]]:
        """The levels moved to where their pixels want them, and their standard deviations [nm]."""
        share, pixels = state.belief.flatten(0, 1), self.pixels
        if self.surroundings is not None:
            films = state.grid.thickness[:, state.belief.argmax(-1).cpu()]
            pixels = self.surroundings.as_typical(self.recorded, films.numpy()).flatten(1)
        moments = torch.stack([pixels @ share, pixels**2 @ share]).double().cpu()
        return refine_levels(moments, share.sum(0).double().cpu(), state.grid, self.noise)

    def simplify(self, state: State) -> State:
        """Remove levels as long as energy and their price fall together."""
        kept: set[tuple[int, float]] = set()
        while True:
            needless = [(k, i) for k, i in self.needless(state) if (k, float(state.grid.levels[k][i])) not in kept]
            if not needless:
                return state
            most = max(3, sum(state.grid.shape) // 4)
            apart: list[tuple[int, int]] = []
            for k, i in needless:
                if len(apart) < most and not {(k, i - 1), (k, i + 1)} & set(apart):
                    apart.append((k, i))
            for drop in [apart, apart[:1]] if len(apart) > 1 else [apart]:
                trial = self.settled(self.state(self.smaller(state.grid, drop), rounds=1))
                if trial.total < state.total:
                    break
            else:
                kept.update((k, float(state.grid.levels[k][i])) for k, i in apart[:1])
                continue
            state, kept = trial, set()

    def smaller(self, grid: Grid, drop: list[tuple[int, int]]) -> Grid:
        """The grid without some levels (layer, index)."""
        levels = [torch.stack([v for i, v in enumerate(at) if (k, i) not in drop]) for k, at in enumerate(grid.levels)]
        return grid.with_levels(levels)

    def needless(self, state: State) -> list[tuple[int, int]]:
        """Levels (layer, index) that seem not to be worth their price, the most needless first."""
        grid, prior = state.grid, self.prior
        cost = (state.cost - state.cost.amin(-1, keepdim=True)).cpu().numpy()
        label = state.belief.argmax(-1).cpu().numpy()
        before = energy(cost, prior.step(grid.shape), label)
        index = np.unravel_index(np.arange(len(grid)), grid.shape)
        gains = []
        for k, count in enumerate(grid.shape):
            for i in range(1, count):
                stays = index[k] != i
                allowed = np.flatnonzero(np.abs(index[k] - i) == 1)
                step = np.full((len(grid), len(grid)), 1e6, np.float32)
                step[np.ix_(stays, stays)] = prior.step(tuple(n - (j == k) for j, n in enumerate(grid.shape)))
                after = np.inf
                for beside in (i - 1, i + 1):
                    if beside < count:
                        there = [np.where(stays, a, beside) if j == k else a for j, a in enumerate(index)]
                        instead = np.ravel_multi_index(there, grid.shape)
                        found = without(cost, step, label, instead, allowed, 2)
                        after = min(after, energy(cost, step, found))
                if before + prior.level > after:
                    gains.append((before + prior.level - after, k, i))
        return [(k, i) for _, k, i in sorted(gains, reverse=True)]

    def report(self, state: State, deviation: list[Tensor]) -> Answer:
        """Most probable level of every layer, its root mean square error, and the most probable volume."""
        problem, grid = self.problem, state.grid
        height, width = state.belief.shape[:2]
        joint = state.belief.reshape(height * width, *grid.shape)
        thickness, spread, reached = [], [], []
        for k, (levels, level_sd) in enumerate(zip(grid.levels, deviation, strict=True)):
            others = [j + 1 for j in range(len(grid.shape)) if j != k]
            marginal = joint.sum(others) if others else joint
            at, sd, nm = levels.to(marginal), level_sd.to(marginal), problem.stack.max_nm[k]
            value = at[marginal.argmax(1)]
            variance = (marginal * ((at - value[:, None]) ** 2 + sd**2)).sum(1)
            thickness.append(value.reshape(height, width))
            spread.append(variance.sqrt().reshape(height, width))
            # a level within its error and 1 % of the range below a voxel boundary reaches it: layers are made to
            # round thicknesses, and 9.9 nm for 10 would cost a whole terrace its voxel
            slack = (3 * sd).clamp_max(problem.voxel_nm / 2) + 1e-2 * nm
            reached.append(torch.where(at > 0, (at + slack).clamp_max(nm), 0.0))
        drawn = combinations(reached)
        volume = most_probable_volume(state.belief.flatten(0, 1), drawn, problem).reshape(-1, height, width)
        assert state.converged is not None
        return torch.stack(thickness), torch.stack(spread), volume, state.converged


def _with_thin(grid: Grid) -> Grid:
    """The grid with thin first layers added: where the signal jumps as a layer begins, a thin one would be taken for
    the layer above."""
    first = grid.levels[0]
    thin = first[1] * torch.tensor([0.1, 0.25, 0.5, 0.75], dtype=first.dtype)
    return grid.with_levels([torch.cat([first[:1], thin, first[1:]]), *grid.levels[1:]])
