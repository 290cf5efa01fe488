"""Thickness that changes from pixel to pixel: a Gaussian field of small second differences, fitted to the scan.

Levels describe terraces and sharp shapes. Where thickness varies continuously, the labelling is only the start: here
every layer becomes a field whose second differences (thin-plate energy) are small, with a scale that the data choose
(expectation and maximisation) and weights that forgive edges (Student's t, iteratively reweighted).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.ndimage import binary_dilation, uniform_filter
from torch import Tensor

from microtomo.solvers.problem import Problem
from microtomo.solvers.response import cost_slope, information, response, slopes

_FREEDOM = 4.0  # degrees of freedom of Student's t: how readily an edge is forgiven
_ROUNDS = 4
_PROBES = 4
_MARGIN = 2  # pixels around a layer where it may turn out to be present


@dataclass(frozen=True)
class Field:
    """Thickness and standard deviation (l, y, x) [nm], and the effective number of parameters."""

    thickness: Tensor
    deviation: Tensor
    parameters: float


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
            a, b = (slice_of(axis, 0, size), slice_of(axis, 1, size))
            pairs = there[a] & there[b] & (label[a] == label[b])
            total, count = total + float((pull[a] * pull[b])[pairs].sum()), count + int(pairs.sum())
        if count and total / count**0.5 > 6:
            strongest = max(strongest, total / count)
    return strongest


def fit_field(observed: Tensor, start: Tensor, problem: Problem, noise: float) -> Field:
    """Fit fields to a scan (e, y, x) from thicknesses (l, y, x) [nm]; layers stay absent where they start at 0."""
    stack = problem.stack
    top = torch.tensor(stack.max_nm).to(start)[:, None, None]
    present = start > 0
    for k in range(len(present)):
        if k > 0 or problem.contrast == "material":
            present[k] = _grown(present[k])
    generator = torch.Generator().manual_seed(0)
    weights = [_Differences(p) for p in present]
    scale = [(nm / 150) ** -2 for nm in stack.max_nm]
    d = start.clone()
    for turn in range(_ROUNDS):
        gradient, fisher = _pull(observed, torch.where(present, d.clamp_min(1e-3 * top), 0.0), problem, noise)
        system = _System(fisher, weights, scale, present)
        right = torch.einsum("jkyx,kyx->jyx", fisher, d) - gradient
        d = torch.minimum(system.solve(right, d).clamp_min(0), top) * present
        if turn + 1 == _ROUNDS:
            break
        for k, difference in enumerate(weights):
            count = difference.count
            if count == 0:
                continue
            probe = torch.zeros_like(d)
            probe[k] = difference.adjoint([_signs(v, generator) for v in difference.apply(d[k])])
            spread = float((probe * system.solve(probe)).sum())
            scale[k] = count / max(difference.energy(d[k]) + spread, 1e-12)
            difference.reweight(d[k], scale[k])
    variance, parameters = torch.zeros_like(d), 0.0
    for _ in range(_PROBES):
        sign = _signs(d, generator)
        answer = system.solve(sign * present)
        variance += sign * answer / _PROBES
        parameters += float((sign * torch.einsum("jkyx,kyx->jyx", fisher, answer)).sum()) / _PROBES
    smooth = [torch.from_numpy(uniform_filter(v.cpu().numpy(), 9, mode="nearest")).to(d) for v in variance]
    filled = [torch.from_numpy(uniform_filter(p.float().cpu().numpy(), 9, mode="nearest")).to(d) for p in present]
    deviation = torch.stack([(v / f.clamp_min(1e-3)).clamp_min(0) for v, f in zip(smooth, filled, strict=True)]).sqrt()
    return Field(d, deviation.clamp_min(1e-3 * top) * present, parameters)


def _grown(present: Tensor) -> Tensor:
    grown = binary_dilation(present.cpu().numpy(), iterations=_MARGIN)
    return torch.from_numpy(grown).to(present.device)


def slice_of(axis: int, first: int, size: int) -> tuple[slice, ...]:
    """Index of ``size`` rows (axis 0) or columns (axis 1) of an image from ``first`` on."""
    return (slice(None),) * axis + (slice(first, first + size),)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like)


def _pull(observed: Tensor, thickness: Tensor, problem: Problem, noise: float) -> tuple[Tensor, Tensor]:
    """Gradient (l, y, x) and Fisher information (l, l, y, x) of the misfit."""
    flat = thickness.flatten(1)
    model = response(flat, problem.stack, problem.contrast)
    slope = slopes(flat, problem.stack, problem.contrast, model)
    gradient = cost_slope(observed.flatten(1), model, slope, noise)
    y, x = thickness.shape[1:]
    layers = len(thickness)
    return gradient.reshape(layers, y, x), information(slope, noise).reshape(layers, layers, y, x)


class _Differences:
    """Second differences of one layer along x, along y and mixed, where all pixels concerned have the layer."""

    def __init__(self, present: Tensor) -> None:
        m = present.float()
        self._size = m.shape
        self._w = [
            m[:, 2:] * m[:, 1:-1] * m[:, :-2],
            m[2:] * m[1:-1] * m[:-2],
            m[1:, 1:] * m[:-1, 1:] * m[1:, :-1] * m[:-1, :-1] * 2,
        ]
        self._there = [(w > 0).float() for w in self._w]
        self._root = [w.sqrt() for w in self._w]

    @property
    def count(self) -> float:
        return float(sum(t.sum() for t in self._there))

    def apply(self, d: Tensor) -> list[Tensor]:
        raw = [
            d[:, 2:] - 2 * d[:, 1:-1] + d[:, :-2],
            d[2:] - 2 * d[1:-1] + d[:-2],
            d[1:, 1:] - d[:-1, 1:] - d[1:, :-1] + d[:-1, :-1],
        ]
        return [r * v for r, v in zip(self._root, raw, strict=True)]

    def adjoint(self, values: list[Tensor]) -> Tensor:
        a, b, c = (r * v for r, v in zip(self._root, values, strict=True))
        out = torch.zeros(self._size, dtype=a.dtype, device=a.device)
        out[:, 2:] += a
        out[:, 1:-1] -= 2 * a
        out[:, :-2] += a
        out[2:] += b
        out[1:-1] -= 2 * b
        out[:-2] += b
        out[1:, 1:] += c
        out[:-1, 1:] -= c
        out[1:, :-1] -= c
        out[:-1, :-1] += c
        return out

    def energy(self, d: Tensor) -> float:
        return float(sum((v**2).sum() for v in self.apply(d)))

    def reweight(self, d: Tensor, scale: float) -> None:
        base = [w.sqrt() for w in self._w]
        raw = [v / r.clamp_min(1e-12) * b for v, r, b in zip(self.apply(d), self._root, base, strict=True)]
        student = [(_FREEDOM + 1) / (_FREEDOM + scale * v**2) for v in raw]
        self._root = [b * s.sqrt() for b, s in zip(base, student, strict=True)]


class _System:
    """Fisher information plus the scaled second differences, on the pixels that have the layer."""

    def __init__(self, fisher: Tensor, weights: list[_Differences], scale: list[float], present: Tensor) -> None:
        self._fisher, self._weights, self._scale, self._present = fisher, weights, scale, present
        strength = torch.tensor([20 * s for s in scale]).to(fisher)[:, None, None]
        self._diagonal = torch.einsum("jjyx->jyx", fisher) + strength

    def _times(self, v: Tensor) -> Tensor:
        out = torch.einsum("jkyx,kyx->jyx", self._fisher, v)
        rough = [s * w.adjoint(w.apply(x)) for s, w, x in zip(self._scale, self._weights, v, strict=True)]
        return (out + torch.stack(rough)) * self._present

    def solve(self, right: Tensor, start: Tensor | None = None, steps: int = 100, tolerance: float = 1e-3) -> Tensor:
        """Conjugate gradients, preconditioned by the diagonal."""
        right = right * self._present
        x = torch.zeros_like(right) if start is None else start * self._present
        rest = right - self._times(x)
        z = rest / self._diagonal
        direction, product = z, float((rest * z).sum())
        goal = tolerance**2 * float((right * right / self._diagonal).sum())
        for _ in range(steps):
            if product <= goal:
                break
            image = self._times(direction)
            length = product / float((direction * image).sum())
            x = x + length * direction
            rest = rest - length * image
            z = rest / self._diagonal
            before, product = product, float((rest * z).sum())
            direction = z + product / before * direction
        return x
