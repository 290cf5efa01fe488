"""What is left of a scan once its solution is re-simulated, in groups of like answers: noise averages out, errors of
the physics and of the recording do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from microtomo.inverse.misfit import NOISE_FLOOR, slopes
from microtomo.inverse.problem import Problem

_BINS = 30  # of the range of a layer, beside absence: answers in one bin are alike
_FEWEST = 40  # pixels of a group


@dataclass(frozen=True)
class Groups:
    """Groups of like answers. Of group g: mean relative residual ``rest`` (g, e) less what a change of its thickness
    could explain, ``directions`` (g, l, e) of that (orthonormal, zero where unused), ``pixels`` (g,), mean
    ``thickness`` (g, l) [nm], mean ``spectrum`` (g, e); ``free`` (g,) degrees of freedom and ``noise``, relative.

    ``member`` (y, x) is the group of each pixel away from edges, -1 for all others; ``inner`` (y, x): away from edges.
    """

    rest: np.ndarray
    directions: np.ndarray
    pixels: np.ndarray
    thickness: np.ndarray
    spectrum: np.ndarray
    free: np.ndarray
    noise: float
    member: np.ndarray
    inner: np.ndarray

    def project(self, residual: np.ndarray) -> np.ndarray:
        """Residuals (g, e) less what thickness could explain."""
        along = np.einsum("gle,ge->gl", self.directions, residual)
        rest: np.ndarray = residual - np.einsum("gl,gle->ge", along, self.directions)
        return rest

    def chi_square(self, rest: np.ndarray) -> np.ndarray:
        """Squares (g,) of projected residuals (g, e), in variances of the group's mean."""
        square: np.ndarray = (rest**2).sum(1) * self.pixels / self.noise**2
        return square

    @cached_property
    def deviations(self) -> np.ndarray:
        """By how many standard deviations each group's chi-square (g,) exceeds what noise gives."""
        far: np.ndarray = (self.chi_square(self.rest) - self.free) / np.sqrt(2 * self.free)
        return far

    def shared_deviations(self, which: np.ndarray) -> float:
        """The same for what the groups ``which`` (g,) have in common."""
        weight = self.pixels * which
        if weight.sum() == 0:
            return 0.0
        common = (weight[:, None] * self.rest).sum(0) / weight.sum()
        free = float((weight * self.free).sum() / weight.sum())
        return float(((common**2).sum() * weight.sum() / self.noise**2 - free) / (2 * free) ** 0.5)

    def excess(self, rest: np.ndarray) -> float:
        """Root mean square of projected residuals (g, e) less their noise, over all pixels."""
        if not len(rest):
            return 0.0
        mean = (rest**2).mean(1) - self.noise**2 * self.free / rest.shape[1] / self.pixels
        return float(max(0.0, np.average(mean, weights=self.pixels)) ** 0.5)


def group_residuals(
    residual: np.ndarray, observed: Tensor, thickness: Tensor, problem: Problem, noise: float
) -> Groups:
    """Groups of the relative residuals (e, y, x) of one scan (e, y, x) with thickness (l, y, x) [nm]."""
    top = np.asarray(problem.stack.max_nm)
    maps = thickness.double().cpu().numpy()
    bins = np.ceil(maps / top[:, None, None] * _BINS).astype(int)
    inner = inner_pixels(maps, problem)
    key = np.ravel_multi_index(tuple(bins.clip(0, _BINS)), (_BINS + 1,) * len(bins))
    numbers, index, count = np.unique(key[inner], return_inverse=True, return_counts=True)
    kept = np.flatnonzero(count >= _FEWEST)
    again = np.full(len(numbers) + 1, -1)
    again[kept] = np.arange(len(kept))
    member = np.full(key.shape, -1)
    member[inner] = again[index]
    at = member[member >= 0]

    def means(images: np.ndarray) -> np.ndarray:
        total = [np.bincount(at, image[member >= 0], len(kept)) for image in images]
        return np.stack(total, 1) / count[kept][:, None]

    mean, depth = means(residual), means(maps)
    directions, free = _directions(depth, problem, len(residual))
    groups = Groups(
        mean,
        directions,
        count[kept],
        depth,
        means(observed.cpu().numpy()),
        free,
        max(noise, NOISE_FLOOR),
        member,
        inner,
    )
    return Groups(**{**groups.__dict__, "rest": groups.project(mean)})


def inner_pixels(thickness: np.ndarray, problem: Problem) -> np.ndarray:
    """Pixels (y, x) whose four neighbours have nearly the same thickness (l, y, x) [nm], and the same layers."""
    bins = np.ceil(thickness / np.asarray(problem.stack.max_nm)[:, None, None] * _BINS).astype(int)
    inner = np.ones(bins.shape[1:], bool)
    for axis in (0, 1):
        step = (np.abs(np.diff(bins, axis=axis + 1)) > 1) | (np.diff(bins > 0, axis=axis + 1) != 0)
        edge = step.any(0)
        inner &= ~np.pad(edge, [(1, 0) if k == axis else (0, 0) for k in (0, 1)])
        inner &= ~np.pad(edge, [(0, 1) if k == axis else (0, 0) for k in (0, 1)])
    return inner


def _directions(depth: np.ndarray, problem: Problem, energies: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (g, l, e), orthonormal, in which thicknesses (g, l) [nm] of present layers move a spectrum, and the
    energies left (g,)."""
    if not len(depth):
        return np.zeros((0, depth.shape[1], energies)), np.zeros(0)
    flat = torch.from_numpy(depth.T.astype(np.float32))
    signal = problem.forward.response(flat)
    along = slopes(flat, problem.forward, signal).double().numpy() * np.asarray(problem.stack.max_nm)[:, None, None]
    directions = np.zeros((len(depth), depth.shape[1], energies))
    for g, layers in enumerate(depth > 0):
        if layers.any():
            directions[g, layers] = np.linalg.qr(along[layers, :, g].T)[0].T[: layers.sum()]
    return directions, np.maximum(energies - (depth > 0).sum(1), 1).astype(float)
