"""Learned kernels as sums of Gabor, Gaussian and Laplacian-of-Gaussian functions.

Sources: Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108, compare learned filters with such sums;
Gabor functions: Daugman, J. Opt. Soc. Am. A 2 (1985) 1160; Laplacian of Gaussian: Marr & Hildreth, Proc. R. Soc. B 207
(1980) 187.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from microtomo.models.architectures import Network

MOST_TERMS = 2
"""Functions that a kernel is fitted by at most."""

_SMALLEST_SIDE = 3  # px: smaller kernels have no form to fit


@dataclass(frozen=True)
class Term:
    """One function of a fit: its ``kind``, and its ``parameters`` in the order of that kind's function."""

    kind: str
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class KernelFit:
    """A kernel (y, x), the sum of ``terms`` with an ``offset`` that comes nearest, and the share of the kernel's
    variance that it explains."""

    kernel: np.ndarray
    fitted: np.ndarray
    terms: tuple[Term, ...]
    offset: float
    explained: float

    @property
    def words(self) -> str:
        """Such as ``Gabor + Gaussian``."""
        return " + ".join(term.kind for term in self.terms) or "flat"


def gaussian(y: np.ndarray, x: np.ndarray, p: Sequence[float]) -> np.ndarray:
    """Gaussian of height, centre y, centre x and deviation [px]."""
    height, cy, cx, sigma = p
    return np.asarray(height * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / sigma**2))


def laplacian(y: np.ndarray, x: np.ndarray, p: Sequence[float]) -> np.ndarray:
    """Negative Laplacian of a Gaussian, scaled to its height: of height, centre y, centre x and deviation [px]."""
    height, cy, cx, sigma = p
    square = ((y - cy) ** 2 + (x - cx) ** 2) / sigma**2
    return np.asarray(height * (1 - square / 2) * np.exp(-square / 2))


def gabor(y: np.ndarray, x: np.ndarray, p: Sequence[float]) -> np.ndarray:
    """Gabor function: a Gaussian of height, centre y, centre x and deviation [px] times a wave of so many cycles a
    pixel along y and along x, and a phase [rad] at the centre."""
    height, cy, cx, sigma, fy, fx, phase = p
    wave = np.cos(2 * np.pi * (fy * (y - cy) + fx * (x - cx)) + phase)
    return np.asarray(gaussian(y, x, (height, cy, cx, sigma)) * wave)


KINDS: dict[str, tuple[Callable[..., np.ndarray], int]] = {
    "Gaussian": (gaussian, 4),
    "LoG": (laplacian, 4),
    "Gabor": (gabor, 7),
}
"""Functions by name, and how many parameters each has."""


def first_kernels(network: Network) -> np.ndarray:
    """Kernels (n, y, x) of the first convolution that is wider than a pixel: each output's strongest input channel."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and min(module.kernel_size[-2:]) >= _SMALLEST_SIDE:
            weight = module.weight.detach().float().cpu()
            if weight.ndim == 5:  # along the depth, the strongest plane
                weight = weight.flatten(1, 2)
            strength = weight.flatten(2).norm(dim=2)
            best = strength.argmax(1)
            return np.asarray(weight[torch.arange(len(weight)), best].numpy())
    return np.empty((0, 1, 1), dtype=np.float32)


def fit_kernel(kernel: np.ndarray, most: int = MOST_TERMS) -> KernelFit:
    """Fit a kernel (y, x) by a constant and up to ``most`` functions; another one must pay for its parameters.

    The sum with the least Bayesian information criterion wins (Schwarz, Ann. Statist. 6 (1978) 461); functions are
    added one by one to what is left, and all refined together.
    """
    values = np.asarray(kernel, dtype=np.float64)
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in values.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    scale = float(np.abs(values).max()) or 1.0
    target = values / scale
    best: _Fit = ((), float(target.mean()), _criterion(target - target.mean(), 1))
    terms: tuple[Term, ...] = ()
    for _ in range(most):
        known, offset, _ = best
        rest = target - _total(known, offset, y, x)
        tried = [_refined((*terms, _started(kind, rest, y, x)), target, y, x) for kind in KINDS]
        candidate = min((fit for fit in tried if fit is not None), key=_score, default=None)
        if candidate is None or candidate[2] >= best[2]:
            break
        best, terms = candidate, candidate[0]
    terms, offset, _ = best
    fitted = _total(terms, offset, y, x)
    total = float(((target - target.mean()) ** 2).sum())
    explained = 1 - float(((target - fitted) ** 2).sum()) / total if total > 0 else 1.0
    return KernelFit(values, fitted * scale, tuple(_scaled(t, scale) for t in terms), offset * scale, explained)


_Fit = tuple[tuple[Term, ...], float, float]  # terms, offset, and what the fit costs


def _score(fit: _Fit) -> float:
    return fit[2]


def _scaled(term: Term, scale: float) -> Term:
    return Term(term.kind, (term.parameters[0] * scale, *term.parameters[1:]))


def _total(terms: Sequence[Term], offset: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    total = np.full(y.shape, offset)
    for term in terms:
        total = total + KINDS[term.kind][0](y, x, term.parameters)
    return total


def _started(kind: str, rest: np.ndarray, y: np.ndarray, x: np.ndarray) -> Term:
    """A function at the greatest value of what is left, with the frequency that is strongest there."""
    at = int(np.abs(rest).argmax())
    height, cy, cx, sigma = rest.flat[at], y.flat[at], x.flat[at], max(rest.shape) / 5
    if kind != "Gabor":
        return Term(kind, (float(height), float(cy), float(cx), sigma))
    side = 4 * max(rest.shape)
    spectrum = np.abs(np.fft.rfft2(rest - rest.mean(), (side, side)))
    row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
    fy, fx = np.fft.fftfreq(side)[row], np.fft.rfftfreq(side)[column]
    return Term(kind, (float(height), 0.0, 0.0, max(rest.shape) / 4, float(fy), float(fx), 0.0))


def _refined(terms: Sequence[Term], target: np.ndarray, y: np.ndarray, x: np.ndarray) -> _Fit | None:
    """All parameters together by least squares; None where there are too many of them for the values."""
    sizes = [KINDS[t.kind][1] for t in terms]
    if sum(sizes) + 1 > _FREEDOM * target.size:
        return None
    from scipy.optimize import least_squares

    half = max(target.shape) / 2
    low = [b for t in terms for b in (-4.0, -half, -half, 0.4, -0.5, -0.5, -np.pi)[: KINDS[t.kind][1]]]
    high = [b for t in terms for b in (4.0, half, half, 2 * half, 0.5, 0.5, np.pi)[: KINDS[t.kind][1]]]

    def read(p: np.ndarray) -> tuple[Term, ...]:
        parts = np.split(p, np.cumsum(sizes)[:-1])
        return tuple(Term(t.kind, tuple(map(float, part))) for t, part in zip(terms, parts, strict=True))

    def left(p: np.ndarray) -> np.ndarray:
        return np.asarray((_total(read(p[:-1]), float(p[-1]), y, x) - target).ravel())

    start = np.clip([v for t in terms for v in t.parameters], np.array(low) + 1e-6, np.array(high) - 1e-6)
    found = least_squares(left, [*start, 0.0], bounds=([*low, -4.0], [*high, 4.0]), max_nfev=_EVALUATIONS)
    return read(found.x[:-1]), float(found.x[-1]), _criterion(found.fun, sum(sizes) + 1)


_FREEDOM = 0.6  # parameters a value at most: else any kernel could be fitted
_EVALUATIONS = 60  # of the sum of functions, for each fit: more change a fit by less than it shows


def _criterion(residual: np.ndarray, parameters: int) -> float:
    n = residual.size
    return n * float(np.log(max((residual**2).mean(), 1e-12))) + parameters * float(np.log(n))
