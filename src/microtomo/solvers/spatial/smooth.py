"""Thickness that changes from pixel to pixel: a smooth field for every layer, fitted to the scan.

Levels describe terraces and sharp shapes. Where thickness varies continuously, every layer is a surface of splines
whose bending (thin-plate energy) is small, by as much as the data themselves choose. The posterior of these few
numbers is exact for a linearised signal, so the error bars hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, cost_at, cost_slope, slopes
from microtomo.inverse.problem import Problem
from microtomo.physics.information import relative_information
from microtomo.solvers.spatial.patterns import Patterns, chances
from microtomo.solvers.spatial.splines import Surface

_SPACING, _SMALL = 8.0, 64  # pixels between splines; images of at most so many pixels a side have twice as many
_UPDATES = 3  # of the stiffness, a round
_SETTLED = 1.0  # standard deviations that the last round may move a thickness by
_RIDGE = 1e-4  # keeps fields without any data within a hundred ranges
_THIN = 1e-3  # share of the range that a layer which is present has at least


@dataclass(frozen=True)
class Field:
    """Thickness and standard deviation (l, y, x) [nm], the effective number of parameters, and where the last round
    left the thickness as it was (y, x)."""

    thickness: Tensor
    deviation: Tensor
    parameters: float
    converged: Tensor


def whiteness(observed: Tensor, thickness: Tensor, label: Tensor, problem: Problem, noise: float) -> float:
    """How far the data pull neighbours of one label in the same direction: 0 for terraces, else up to about 1.

    The largest over the layers of the mean product of the normalised gradients of the misfit of two neighbours,
    counted only where it is six times its own error.
    """
    gradient, fisher = _pull(observed, thickness, problem, noise)
    strongest = 0.0
    for k in range(len(thickness)):
        pull = (gradient[k] / fisher[k, k].clamp_min(1e-12).sqrt()).clamp(-3, 3)
        there = thickness[k] > 0
        total, count = 0.0, 0
        for axis in (0, 1):
            size = pull.shape[axis] - 1
            a, b = (torch.arange(first, first + size, device=pull.device) for first in (0, 1))
            (p, q), (r, t), (u, v) = ((m.index_select(axis, a), m.index_select(axis, b)) for m in (pull, there, label))
            pairs = r & t & (u == v)
            total, count = total + float((p * q)[pairs].sum()), count + int(pairs.sum())
        if count and total / count**0.5 > 6:
            strongest = max(strongest, total / count)
    return strongest


def fit_field(observed: Tensor, patterns: Patterns, problem: Problem, noise: float, rounds: int = 5) -> Field:
    """Fit fields to a scan (e, y, x), from which layers may be where.

    Its marginal likelihood decides how stiff a layer is (MacKay 1992). Where a layer ends, its field goes on without
    data; the layer is present where its field is above 0 and the misfit does not object.
    """
    height, width = observed.shape[1:]
    nm = problem.stack.max_nm
    top = torch.tensor(nm).to(observed)[:, None, None]
    surface = Surface(height, width, _SPACING if min(height, width) > _SMALL else _SPACING / 2)
    posterior = _Posterior(surface, nm)
    chance = chances(patterns)
    present = chance > 0.5
    best = (patterns.layers[..., None, None] == present).all(1).to(observed).argmax(0)
    d = patterns.thickness.gather(0, best.expand_as(patterns.thickness[:1]))[0]
    for turn in range(rounds):
        last = turn + 1 == rounds
        there = torch.where(present, d.clamp_min(_THIN * top).minimum(top), 0.0)
        gradient, fisher = _pull(observed, there, problem, noise)
        trust = _trust(gradient, fisher, present)
        fisher, gradient = fisher * (present[:, None] & present[None]) * trust, gradient * present * trust
        posterior.see(fisher, torch.einsum("jkyx,kyx->jyx", fisher, there) - gradient, 0 if last else _UPDATES)
        before, d = there, posterior.fields().to(observed)
        chance = _presence(observed, d, patterns, top, problem, noise)
        present = (chance > 0.5) & ((d > 0) | (not last))
    thickness = torch.where(present, d.clamp_min(_THIN * top).minimum(top), 0.0)
    variance = posterior.variances().to(observed).clamp_min(1e-12)
    # the mean square of a field that is cut off at 0, for where the layer was found absent
    ratio = d / variance.sqrt()
    density = (-(ratio**2) / 2).exp() / (2 * torch.pi) ** 0.5
    cut = ((d**2 + variance) * torch.special.ndtr(ratio) + d * variance.sqrt() * density).clamp_min(0)
    square = torch.where(present, chance * variance + (1 - chance) * thickness**2, chance * cut)
    deviation = square.sqrt().minimum(top / 12**0.5)
    converged = ((thickness - before).abs() <= _SETTLED * deviation + _THIN * top).all(0)
    return Field(thickness, deviation, posterior.parameters, converged)


class _Posterior:
    """Gaussian posterior of the spline coefficients of all layers, with the stiffness of each layer."""

    def __init__(self, surface: Surface, max_nm: tuple[float, ...]) -> None:
        self._surface, self._nm = surface, max_nm
        self._bend = surface.bending()
        self._stiff = [(nm / 1000) ** -2 for nm in max_nm]
        self._at = [slice(k * surface.count, (k + 1) * surface.count) for k in range(len(max_nm))]
        self.parameters = 0.0

    def see(self, fisher: Tensor, right: Tensor, updates: int) -> None:
        """Data: information (l, l, y, x) and right side (l, y, x); then so many updates of the stiffness."""
        fisher, right = fisher.double().cpu(), right.double().cpu()
        size, layers = self._surface.count * len(self._nm), range(len(self._nm))
        data = torch.zeros((size, size), dtype=torch.float64)
        for j in layers:
            for k in layers[j:]:
                data[self._at[j], self._at[k]] = self._surface.products(fisher[j, k])
                data[self._at[k], self._at[j]] = data[self._at[j], self._at[k]]
        drawn = torch.cat([self._surface.adjoint(r) for r in right])
        for i in range(updates + 1):
            whole = data.clone()
            for s, nm, at in zip(self._stiff, self._nm, self._at, strict=True):
                whole[at, at] += s * self._bend
                whole[at, at].diagonal().add_(_RIDGE / nm**2)
            self._covariance = torch.cholesky_inverse(torch.linalg.cholesky(whole))
            self._mean = self._covariance @ drawn
            spare = [float((self._bend * self._covariance[at, at]).sum()) for at in self._at]
            if i < updates:
                self._stiff = [self._updated(k, spare[k]) for k in layers]
        self.parameters = sum(self._surface.count - s * t for s, t in zip(self._stiff, spare, strict=True))

    def _updated(self, k: int, spare: float) -> float:
        """MacKay's rule: as many determined coefficients as their bending energy, in units of 1 / stiffness."""
        mean, before, nm = self._mean[self._at[k]], self._stiff[k], self._nm[k]
        wanted = (self._surface.count - 3 - before * spare) / max(float(mean @ self._bend @ mean), 1e-12)
        return min(max(wanted, before / 30, 1e-3 / nm**2), before * 30, 1e9 / nm**2)

    def fields(self) -> Tensor:
        """The mean of each layer's field (l, y, x) [nm]."""
        return torch.stack([self._surface.values(self._mean[at]) for at in self._at])

    def variances(self) -> Tensor:
        """The variance of each layer's field (l, y, x) [nm^2]."""
        return torch.stack([self._surface.variance(self._covariance[at, at]) for at in self._at])


def _trust(gradient: Tensor, fisher: Tensor, present: Tensor) -> Tensor:
    """Weight (y, x) of each pixel: 1, less where no thickness nearby explains it (Huber 1964)."""
    layers = len(gradient)
    both = present[:, None] & present[None]
    block = torch.where(both, fisher, 0.0).movedim((0, 1), (-2, -1))
    block = block + torch.diag_embed(torch.where(present, 1e-6, 1.0).movedim(0, -1))
    pull = torch.where(present, gradient, 0.0).movedim(0, -1)
    length = (pull * torch.linalg.solve(block, pull)).sum(-1)
    weight: Tensor = (6.0 * layers / length.clamp_min(1e-9)).clamp_max(1.0)
    return weight


def _presence(observed: Tensor, d: Tensor, patterns: Patterns, top: Tensor, problem: Problem, noise: float) -> Tensor:
    """Probability (l, y, x) that each layer is present, given fields ``d`` or what each place finds for itself."""
    value = d.maximum(_THIN * top).minimum(top)
    cost = torch.empty_like(patterns.cost)
    for i, there in enumerate(patterns.layers):
        trial = torch.where(there[:, None, None], value, 0.0).flatten(1)
        model = problem.forward.response(trial)
        cost[..., i] = cost_at(observed.flatten(1), model, noise).reshape(d.shape[1:])
    return chances(patterns, cost)


def _pull(observed: Tensor, thickness: Tensor, problem: Problem, noise: float) -> tuple[Tensor, Tensor]:
    """Gradient (l, y, x) and Fisher information (l, l, y, x) of the misfit."""
    flat = thickness.flatten(1)
    model = problem.forward.response(flat)
    slope = slopes(flat, problem.forward, model)
    gradient = cost_slope(observed.flatten(1), model, slope, noise)
    y, x = thickness.shape[1:]
    layers = len(thickness)
    return gradient.reshape(layers, y, x), relative_information(slope, max(noise, NOISE_FLOOR)).reshape(
        layers, layers, y, x
    )
