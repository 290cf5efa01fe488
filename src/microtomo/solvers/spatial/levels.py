"""Which thicknesses occur in a scan: a sparse mixture over homogeneous blocks, found and refined from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, Grid
from microtomo.solvers.spatial.kernels import compiled, compiled_parallel

_LARGEST = 32  # pixels a side of the largest block
_STRIP = 64  # rows handled at a time, a multiple of the largest block
_FULL = 64.0  # a block counts as at most this many pixels, so that a large terrace does not drown a small one
_MOST = 400  # labels that a first labelling may have
_LEAST = 16.0  # pixels of support that a level must have (Figueiredo & Jain 2002: annihilation below T/2)


@dataclass(frozen=True)
class Blocks:
    """Homogeneous square blocks of an image: moments (2, e, b) = sums of I and I^2, and pixels (b,); and ``floor``
    (y, x), the least misfit of every pixel on the starting grid."""

    moments: Tensor
    pixels: Tensor
    floor: np.ndarray


def homogeneous_blocks(observed: Tensor, grid: Grid, noise: float, smallest: int = 2) -> Blocks:
    """Quadtree of an image (e, y, x): four blocks join when one spectrum explains them as well as four do.

    Blocks have at least 2^smallest pixels a side. The test is a likelihood ratio: twice the loss of joining is
    chi-square with 3 l degrees of freedom.
    """
    e, height, width = observed.shape
    limit = float(chi2.ppf(0.999, 3 * len(grid.shape))) / 2
    floor = np.empty((height, width), np.float32)
    moments, pixels = [], []
    for first in range(0, height, _STRIP):
        strip = observed[:, first : first + _STRIP].double()
        cost = grid.misfit(strip.flatten(1).float(), noise).float().reshape(*strip.shape[1:], -1).cpu().numpy()
        best = _least(cost)
        floor[first : first + _STRIP] = best
        sums = torch.stack([strip, strip**2]).cpu()
        good = [np.ones(best.shape, bool)]
        levels = [sums]
        while 2 ** len(levels) <= _LARGEST and min(cost.shape[:2]) >= 2:
            cost, least, joined = _pool(cost, best)
            y, x = least.shape
            before = good[-1][: 2 * y, : 2 * x].reshape(y, 2, x, 2).all((1, 3))
            good.append(before & (least - joined < limit))
            sums = sums[:, :, : 2 * y, : 2 * x].reshape(2, e, y, 2, x, 2).sum((3, 5))
            levels.append(sums)
            best = least
        taken = np.zeros((1, 1), bool)
        for size in range(len(levels) - 1, smallest - 1, -1):
            here = good[size]
            above = np.zeros_like(here)
            if size + 1 < len(levels):
                above[: 2 * taken.shape[0], : 2 * taken.shape[1]] = taken.repeat(2, 0).repeat(2, 1)
            where = torch.from_numpy(here & ~above)
            moments.append(levels[size][:, :, where])
            pixels.append(torch.full((int(where.sum()),), 4.0**size, dtype=torch.float64))
            taken = here | above
    if not moments:
        return Blocks(torch.zeros((2, e, 0), dtype=torch.float64), torch.zeros(0, dtype=torch.float64), floor)
    return Blocks(torch.cat(moments, 2), torch.cat(pixels), floor)


def find_levels(blocks: Blocks, grid: Grid, noise: float, iterations: int = 40) -> tuple[Grid, Tensor]:
    """The thicknesses of each layer that occur in the blocks, as a grid of all their combinations, and how often
    each label occurs (L,), summing to 1.

    A mixture over the grid, independent by layer, by expectation and maximisation with a sparse Dirichlet prior that
    removes levels without support (Figueiredo & Jain 2002); the surviving levels move to where the data want them.
    Thickness 0 is always kept.
    """
    if len(blocks.pixels) == 0:
        return grid, torch.full((len(grid),), 1 / len(grid))
    weight = blocks.pixels.clamp_max(_FULL).numpy()
    share = [np.full(n, 1 / n) for n in grid.shape]
    likelihood = _likelihood(blocks, grid, noise)
    for i in range(iterations):
        prior = _outer(share).astype(np.float32)
        total = _responsibility(likelihood, prior, weight).reshape(grid.shape)
        keep, share = [], []
        for k in range(total.ndim):
            support = total.sum(tuple(j for j in range(total.ndim) if j != k)) - min(i / 10, 1.0) * _LEAST
            stays = support > 0
            stays[0] = True
            keep.append(stays)
            share.append(np.maximum(support[stays], 1e-3))
            share[k] = share[k] / share[k].sum()
        if not all(s.all() for s in keep):
            flat = _outer([s.astype(float) for s in keep]) > 0
            likelihood = np.ascontiguousarray(likelihood[:, flat])
            grid = grid.with_levels([v[torch.from_numpy(s)] for v, s in zip(grid.levels, keep, strict=True)])
        if i >= 15 and i % 8 == 7:
            belonging = _belonging(likelihood, _outer(share).astype(np.float32))
            grid = refine_levels(
                torch.einsum("meb,bl->mel", blocks.moments, belonging), blocks.pixels @ belonging, grid, noise
            )[0]
            grid, share = _merge(grid, share)
            likelihood = _likelihood(blocks, grid, noise)
    return _common(grid, share)


def _common(grid: Grid, share: list[np.ndarray]) -> tuple[Grid, Tensor]:
    """The most common levels, at most :data:`_MOST` labels; what is dropped here can come back as missing."""
    levels = list(grid.levels)
    while math.prod(len(v) for v in levels) > _MOST:
        k, i = min(
            ((k, int(i)) for k, s in enumerate(share) if len(s) > 2 for i in [1 + s[1:].argmin()]),
            key=lambda at: float(share[at[0]][at[1]]),
        )
        levels[k] = torch.cat([levels[k][:i], levels[k][i + 1 :]])
        share[k] = np.delete(share[k], i) / (1 - share[k][i])
    common = grid.with_levels(levels)
    return common, torch.from_numpy(_outer(share).astype(np.float32))


def refine_levels(
    moments: Tensor, pixels: Tensor, grid: Grid, noise: float, rounds: int = 3
) -> tuple[Grid, list[Tensor]]:
    """Move every level but 0 to the maximum of its likelihood; returns the grid and each level's standard deviation.

    ``moments`` (2, e, L) and ``pixels`` (L,) are sums over the pixels that belong to each label.
    """
    levels = [v.clone() for v in grid.levels]
    deviation = [torch.zeros_like(v) for v in levels]
    axes = range(len(levels))

    def cost(k: int, trial: Tensor) -> Tensor:
        there = grid.with_levels([trial if j == k else levels[j] for j in axes])
        inverse, s2 = 1 / there.signal, 2 * max(noise, NOISE_FLOOR) ** 2
        squares = moments[1] * inverse**2 - 2 * moments[0] * inverse + pixels
        total = squares.sum(0) / s2 + pixels * there.signal.log().sum(0)
        return total.reshape(there.shape).sum([j for j in axes if j != k]) if len(levels) > 1 else total

    for i in range(rounds):
        for k, nm in enumerate(grid.stack.max_nm):
            at = levels[k]
            h = nm / 150 / (i + 1)
            up, down = torch.where(at > 0, at + h, 0.0), torch.where(at > 0, (at - h).clamp_min(h / 4), 0.0)
            here, above, below = cost(k, at), cost(k, up), cost(k, down)
            curvature = (above + below - 2 * here) / h**2
            slope = (above - below) / (2 * h)
            move = torch.where(curvature > 1e-9, -slope / curvature.clamp_min(1e-9), -slope.sign() * h).clamp(
                -3 * h, 3 * h
            )
            trial = torch.where(at > 0, (at + move).clamp(nm / 300, nm), 0.0)
            levels[k] = torch.where(cost(k, trial) < here, trial, at)
            deviation[k] = torch.where(at > 0, curvature.clamp_min(12 / nm**2).rsqrt(), 0.0)
    return grid.with_levels(levels), deviation


def _likelihood(blocks: Blocks, grid: Grid, noise: float) -> np.ndarray:
    cost = grid.misfit(blocks.moments, noise, blocks.pixels)
    cost -= cost.amin(1, keepdim=True)
    return (-cost).exp().float().numpy()


def _belonging(likelihood: np.ndarray, prior: np.ndarray) -> Tensor:
    joint = torch.from_numpy(likelihood * prior).double()
    return joint / joint.sum(1, keepdim=True).clamp_min(1e-300)


def _merge(grid: Grid, share: list[np.ndarray]) -> tuple[Grid, list[np.ndarray]]:
    """Join levels that came within 1/50 of the range of each other (never with 0)."""
    levels, shares = [], []
    for at, weight, nm in zip(grid.levels, share, grid.stack.max_nm, strict=True):
        order = np.argsort(at.numpy())
        kept: list[tuple[float, float]] = []
        for i in order:
            value, w = float(at[i]), float(weight[i])
            if kept and kept[-1][0] > 0 and value - kept[-1][0] < nm / 50:
                before, mass = kept.pop()
                value, w = (before * mass + value * w) / (mass + w), mass + w
            kept.append((value, w))
        levels.append(torch.tensor([v for v, _ in kept], dtype=torch.float64))
        shares.append(np.array([w for _, w in kept]))
    return grid.with_levels(levels), shares


def _outer(vectors: list[np.ndarray]) -> np.ndarray:
    product = vectors[0]
    for vector in vectors[1:]:
        product = np.multiply.outer(product, vector)
    return product.reshape(-1)


@compiled_parallel
def _least(cost: np.ndarray) -> np.ndarray:
    height, width, labels = cost.shape
    out = np.empty((height, width), np.float32)
    for y in numba.prange(height):
        for x in range(width):
            low = np.float32(np.inf)
            for j in range(labels):
                low = min(low, cost[y, x, j])
            out[y, x] = low
    return out


@compiled_parallel
def _pool(cost: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum 2 x 2 pixels: cost, its least over the labels, and the sum of the four least costs before."""
    height, width, labels = cost.shape[0] // 2, cost.shape[1] // 2, cost.shape[2]
    out = np.empty((height, width, labels), np.float32)
    least = np.empty((height, width), np.float32)
    before = np.empty((height, width), np.float32)
    for y in numba.prange(height):
        for x in range(width):
            low = np.float32(np.inf)
            for j in range(labels):
                value = cost[2 * y, 2 * x, j] + cost[2 * y + 1, 2 * x, j] + cost[2 * y, 2 * x + 1, j]
                value += cost[2 * y + 1, 2 * x + 1, j]
                out[y, x, j] = value
                low = min(low, value)
            least[y, x] = low
            before[y, x] = (
                best[2 * y, 2 * x] + best[2 * y + 1, 2 * x] + best[2 * y, 2 * x + 1] + best[2 * y + 1, 2 * x + 1]
            )
    return out, least, before


@compiled
def _responsibility(likelihood: np.ndarray, prior: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum over blocks of weight * posterior of each label."""
    blocks, labels = likelihood.shape
    total = np.zeros(labels, np.float64)
    row = np.empty(labels, np.float32)
    for b in range(blocks):
        mass = np.float32(1e-30)
        for j in range(labels):
            row[j] = likelihood[b, j] * prior[j]
            mass += row[j]
        factor = np.float32(weight[b]) / mass
        for j in range(labels):
            total[j] += row[j] * factor
    return total


def missing_levels(
    observed: Tensor, floor: np.ndarray, cost: Tensor, belief: Tensor, coarse: Grid, grid: Grid, noise: float
) -> Grid | None:
    """The grid with levels added where the labelling leaves more misfit than noise does, or None.

    Windows of 3 x 3 pixels that would be this bad once in ten million times (their misfit above the least one is
    gamma distributed) are fitted on the coarse grid; thicknesses that several of them ask for are added, two a layer.
    """
    label = belief.argmax(-1, keepdim=True)
    excess = (cost.gather(-1, label)[..., 0].cpu().numpy() - floor).astype(float)
    window = (
        np.lib.stride_tricks.sliding_window_view(excess, (3, 3)).sum((2, 3)) if min(excess.shape) >= 3 else excess[:0]
    )
    bad = torch.from_numpy(window > float(chi2.ppf(1 - 1e-7, 9 * len(grid.shape))) / 2)
    if not bool(bad.any()):
        return None
    spectra = observed.double().cpu().unfold(1, 3, 1).unfold(2, 3, 1)[:, bad].flatten(2)
    moments = torch.stack([spectra.sum(2), (spectra**2).sum(2)])
    best = coarse.misfit(moments, noise, torch.full((moments.shape[2],), 9.0, dtype=torch.float64)).argmin(1)
    wanted = coarse.thickness[:, best]
    levels, added = [], False
    for k, at in enumerate(grid.levels):
        values, votes = torch.unique(wanted[k], return_counts=True)
        spacing = coarse.levels[k][1] - coarse.levels[k][0]
        new = (values[:, None] - at).abs().amin(1) > 0.7 * spacing
        values, votes = values[new & (votes >= 2)], votes[new & (votes >= 2)]
        chosen = values[votes.argsort(descending=True)[:2]]
        added |= len(chosen) > 0
        levels.append(torch.cat([at, chosen]).sort().values)
    return grid.with_levels(levels) if added else None
