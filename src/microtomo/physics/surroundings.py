"""Lateral spread seen from one pixel: the signal of any films there, given what surrounds it.

In the entry-exit model (:mod:`microtomo.physics.spread`) a pixel's neighbours take part by three sums: what electrons
on their way out find there, what those on their way down find among the films at a like depth, and how many of the
latter there are. With the neighbours held, and the pixel's own share taken out of the sums, they are numbers, and the
signal depends on the pixel's own films alone:

    I(d) = eta_top(d) + (1 - sum_m n_m(d) B_m) D(d) + sum_m n_m(d) A_m,      D = R - eta_top + T_in (W + w T_out)

W, A_m and B_m are the sums without the pixel, w its own weight in the first, n_m the weights of the depths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

from microtomo.physics.forward import ForwardModel
from microtomo.physics.spread import entering
from microtomo.physics.spread_model import SpreadModel

_F = TypeVar("_F", bound=Callable[..., Any])
_jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")

_LEAST_SIGNAL = 1e-3  # of bare substrate


@dataclass(frozen=True)
class _Films:
    """What films do at pixels of any shape: eta_top, all of D that does not go by the neighbours, and T_in, each
    (..., e, *pixels); ``near`` and ``alike`` (m, *pixels) say at which depths they lie."""

    top: Tensor
    deep: Tensor
    entering: Tensor
    near: Tensor
    alike: Tensor


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What surrounds every pixel of an image, float32, in an ``estimate`` (l, y, x) [nm].

    ``own`` (e, b) are the electrons that leave where they entered, ``around`` (e, y, x) is W, ``among`` and ``shares``
    (m, e, y, x) are A_m and B_m. ``beyond`` (e, y, x) is the signal with all spread over what these give, which differs
    from 1 by the diameter of the beam alone.
    """

    spread: SpreadModel
    estimate: np.ndarray
    own: np.ndarray
    around: np.ndarray
    among: np.ndarray
    shares: np.ndarray
    beyond: np.ndarray

    @classmethod
    def of(cls, spread: SpreadModel, thickness: np.ndarray) -> tuple[Surroundings, np.ndarray]:
        """The surroundings in an estimate (l, y, x) [nm], and its signal (e, y, x) with spread."""
        operator, own = spread.operator, torch.from_numpy(np.ascontiguousarray(thickness, dtype=np.float32))
        with torch.no_grad():
            emission = operator.physics.emission(own, torch.as_tensor(operator.kernels.exit_kev))
            _, around, weights = operator.ways_out(emission)
            del emission
            self_around = operator.physics.way_out(own, operator.kernels.exit_kev, weights.double().numpy())
            films = _films(spread, own)
            deep = films.deep + films.entering * around
            among, shares = [], []
            for m, alike in enumerate(films.alike):
                there, share, weight = operator.ways_down(m, deep, alike)
                kept = weight[:, None, None] * alike
                among.append(there - kept * deep)
                shares.append(share - kept)
            empty = torch.zeros((0, *deep.shape))
            given = cls(
                spread,
                own.numpy(),
                weights.double().numpy(),
                (around - self_around).numpy(),
                (torch.stack(among) if among else empty).numpy(),
                (torch.stack(shares) if shares else empty).numpy(),
                np.ones(deep.shape, np.float32),
            )
            signal = given.signal(thickness)
            whole = operator.widened(torch.from_numpy(signal)).numpy()
        return replace(given, beyond=whole / signal), whole

    def part(self, rows: slice, columns: slice) -> Surroundings:
        """Those of a part of the image."""
        fields = ("estimate", "around", "among", "shares", "beyond")
        return replace(self, **{name: getattr(self, name)[..., rows, columns] for name in fields})

    def signal(self, thickness: np.ndarray) -> np.ndarray:
        """Signal (e, y, x) of films (l, y, x) [nm], each pixel changed alone while the others stay."""
        own = torch.from_numpy(np.ascontiguousarray(thickness, dtype=np.float32))
        with torch.no_grad():
            films = _films(self.spread, own)
            deep = (films.deep + films.entering * (torch.from_numpy(self.around) + self._own_out(own))).numpy()
        near = films.near.numpy()[:, None]
        whole = films.top.numpy() + deep * (1 - (near * self.shares).sum(0)) + (near * self.among).sum(0)
        return np.asarray(np.maximum(whole, _LEAST_SIGNAL) * self.beyond, dtype=np.float32)

    def misfit(self, observed: np.ndarray, thickness: np.ndarray, noise: float) -> np.ndarray:
        """Negative log-likelihood (y, x, L) of labels (l, L) [nm] at every pixel of a scan (e, y, x), float32."""
        labels = torch.from_numpy(np.ascontiguousarray(thickness, dtype=np.float32))[:, None]
        with torch.no_grad():
            films = _films(self.spread, labels)
            deep = films.deep + films.entering * self._own_out(labels)
        per_label = [_rows(values.numpy()[..., 0, :]) for values in (films.top, deep, films.entering)]
        near = np.ascontiguousarray(films.near.numpy()[:, 0].T)  # (L, m)
        depths, which = near[:1], np.zeros(len(near), np.int64)
        if near.shape[1]:
            depths, which = np.unique(near, axis=0, return_inverse=True)
        e, count = observed.shape[0], observed[0].size
        pixels = [_rows(values.reshape(e, -1)) for values in (observed / self.beyond, self.around)]
        buried = [
            np.ascontiguousarray(values.reshape(len(values), e, count).transpose(2, 0, 1))
            for values in (self.among, self.shares)
        ]
        arrays = (*pixels, *buried, *per_label, np.ascontiguousarray(depths), which.reshape(-1).astype(np.int64))
        cost = np.empty((len(arrays[0]), len(near)), np.float32)
        _misfit(arrays, 0.5 / noise**2, cost)
        return cost.reshape(*observed.shape[1:], -1)

    def as_typical(self, observed: Tensor, thickness: np.ndarray | None = None) -> Tensor:
        """A scan (e, y, x) as it would be were the surroundings those of :attr:`typical`, if the films are
        ``thickness`` (l, y, x) [nm], else the estimate."""
        films = self.estimate if thickness is None else np.ascontiguousarray(thickness, dtype=np.float32)
        return observed * torch.from_numpy(self.typical.fast(films) / self.signal(films)).to(observed)

    def through_others(self, thickness: np.ndarray) -> np.ndarray:
        """Slope (e, y, x) of the signal of films (l, y, x) [nm] by W, what electrons on their way out find."""
        with torch.no_grad():
            films = _films(self.spread, torch.from_numpy(np.ascontiguousarray(thickness, dtype=np.float32)))
        free = 1 - (films.near.numpy()[:, None] * self.shares).sum(0)
        return np.asarray(films.entering.numpy() * free * self.beyond)

    @cached_property
    def typical(self) -> SurroundedModel:
        """The same for every pixel: the geometric mean of what surrounds them, nothing displaced on the way down."""
        mean = np.exp(np.log(np.maximum(self.around, _LEAST_SIGNAL)).mean((1, 2)))
        return SurroundedModel(self.spread.base.stack, self.spread, mean.astype(np.float32))

    def _own_out(self, thickness: Tensor) -> Tensor:
        """The pixel's own share (e, y, x) of what electrons on their way out find."""
        operator = self.spread.operator
        there: Tensor = operator.physics.way_out(thickness, operator.kernels.exit_kev, self.own)
        return there


@dataclass(frozen=True, eq=False)
class SurroundedModel(ForwardModel):
    """Local forward model of a pixel whose surroundings ``around`` (e,), float32, are the same everywhere."""

    spread: SpreadModel
    around: np.ndarray

    name = "surrounded"

    def __call__(self, thickness: Tensor) -> Tensor:
        """See :meth:`ForwardModel.__call__`."""
        films = _films(self.spread, thickness)
        around = torch.from_numpy(self.around).to(thickness)[:, None, None]
        return (films.top + films.deep + films.entering * around).clamp_min(_LEAST_SIGNAL)

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """See :meth:`ForwardModel.fast`."""
        with torch.inference_mode():
            return np.asarray(self(torch.from_numpy(np.ascontiguousarray(thickness))).numpy())

    def bulk_signal(self) -> Tensor:
        """See :meth:`ForwardModel.bulk_signal`."""
        return self.spread.bulk_signal()

    def transmitted(self, layer: int) -> float:
        """See :meth:`ForwardModel.transmitted`."""
        return self.spread.transmitted(layer)

    def doubt(self, thickness: Tensor) -> Tensor | None:
        """See :meth:`ForwardModel.doubt`: that of the local model."""
        return self.spread.base.doubt(thickness)


def _films(spread: SpreadModel, thickness: Tensor) -> _Films:
    operator = spread.operator
    physics = operator.physics
    films = physics.films(thickness, 0)
    back = (physics.total(thickness) - films).clamp_min(0)
    local = physics.way_out(thickness, operator.kernels.exit_kev, operator.kernels.share)
    into = entering(back, local)
    buried = len(operator.kernels.buried_nm) > 0
    top = physics.films(thickness, 1) if buried else torch.zeros_like(films)
    depth = thickness[..., 1:, :, :].sum(-3)
    near, alike = operator.depths(depth) if buried else (depth.new_zeros((0, *depth.shape)),) * 2
    return _Films(top, films - top + back - into * local, into, near, alike)


def _rows(values: np.ndarray) -> np.ndarray:
    """(e, p) as contiguous float32 (p, e)."""
    return np.ascontiguousarray(values.T, dtype=np.float32)


@_jit
def _misfit(arrays: tuple[np.ndarray, ...], scale: float, cost: np.ndarray) -> None:
    """Cost (p, L) from, in this order: scan and W (p, e); A and B (p, m, e); eta_top, the rest of D and T_in (L, e);
    the weights of the depths that occur (k, m), and which of these the films of a label lie at (L,)."""
    observed, around, among, shares, top, deep, into, depths, which = arrays
    pixels, energies = observed.shape
    factor = np.empty((len(depths), energies), np.float32)
    extra = np.empty((len(depths), energies), np.float32)
    least = np.float32(_LEAST_SIGNAL)
    for p in range(pixels):
        for k in range(len(depths)):
            for e in range(energies):
                factor[k, e], extra[k, e] = np.float32(1), np.float32(0)
            for m in range(depths.shape[1]):
                if depths[k, m] > 0:
                    for e in range(energies):
                        factor[k, e] -= depths[k, m] * shares[p, m, e]
                        extra[k, e] += depths[k, m] * among[p, m, e]
        for j in range(len(which)):
            k = which[j]
            squares, product = np.float32(0), 1.0
            for e in range(energies):
                signal = top[j, e] + (deep[j, e] + into[j, e] * around[p, e]) * factor[k, e] + extra[k, e]
                signal = max(signal, least)
                off = observed[p, e] / signal - np.float32(1)
                squares += off * off
                product *= signal
            cost[p, j] = squares * scale + np.log(product)
