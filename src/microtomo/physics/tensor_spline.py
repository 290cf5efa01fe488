"""Cubic splines over up to four thicknesses with many values a node, evaluated pixel by pixel with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])
_jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, error_model="numpy")

_TAPS = 4  # basis functions of a cubic spline that are not zero at a point
_GUIDE_BINS = 4  # bins of the guide to the interval of a thickness, a break
_VECTOR = 8  # energies are padded to a multiple, so that vector units never meet a rest
_LANES = 16  # pixels handled together: one cache line of float32 an energy
_DEVICE_PIXELS = 1 << 16  # pixels at once on a device other than the processor


class TensorSpline:
    """Interpolates values (n_1, ..., n_l, e) at nodes of l axes; C2, not-a-knot ends, constant outside the nodes.

    A pixel's values depend on its own thicknesses alone, to the bit.
    """

    def __init__(self, nodes: tuple[np.ndarray, ...], values: np.ndarray) -> None:
        coefficients = values.astype(float)
        for axis, x in enumerate(nodes):
            coefficients = np.moveaxis(make_interp_spline(x, coefficients, k=_TAPS - 1, axis=axis).c, 0, axis)
        self.nodes = nodes
        self.shape = coefficients.shape
        breaks = [np.append(x[:1], np.append(x[2:-2], x[-1:])) for x in nodes]
        longest = max(map(len, breaks))
        self._breaks = np.stack([np.append(b, np.full(longest - len(b), b[-1])) for b in breaks])
        self._counts = np.array([len(b) - 1 for b in breaks])
        bins = _GUIDE_BINS * longest
        even = [np.linspace(b[0], b[-1], bins + 1) for b in breaks]
        self._guide = np.stack(
            [np.clip(np.searchsorted(b, x, "right") - 1, 0, len(b) - 2) for b, x in zip(breaks, even, strict=True)]
        )
        self._strides = np.array([int(np.prod(self.shape[k + 1 : -1])) for k in range(len(nodes))])
        self._basis = np.zeros((len(nodes), longest - 1, _TAPS, _TAPS))
        for k, b in enumerate(breaks):
            self._basis[k, : len(b) - 1] = _basis(b)
        padded = -(-self.shape[-1] // _VECTOR) * _VECTOR
        self._coefficients = np.zeros((int(np.prod(self.shape[:-1])), padded))
        self._coefficients[:, : self.shape[-1]] = coefficients.reshape(-1, self.shape[-1])
        self._typed: dict[str, list[np.ndarray]] = {}
        self._tensors: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    def _arrays(self, dtype: np.dtype[Any]) -> list[np.ndarray]:
        if dtype.name not in self._typed:
            floats = (self._breaks, self._basis, self._coefficients)
            self._typed[dtype.name] = [np.ascontiguousarray(x, dtype=dtype) for x in floats]
        return self._typed[dtype.name]

    def __call__(self, thickness: Tensor) -> Tensor:
        """Values (..., e, y, x) at thicknesses (..., l, y, x), any float dtype and device.

        Differentiable once, backward and forward.
        """
        points = thickness.movedim(-3, 0).flatten(1)
        if torch.is_inference_mode_enabled() and points.device.type == "cpu":  # nobody can ask for a slope
            values = torch.from_numpy(self.evaluate(points.numpy())[0])
        else:
            values = _Interpolate.apply(points, self)[0]  # type: ignore[no-untyped-call]
        return values.reshape(-1, *thickness.shape[:-3], *thickness.shape[-2:]).movedim(0, -3)

    def evaluate(self, points: np.ndarray, slopes: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Values (e, p) at points (l, p), float32 or float64, and with ``slopes`` derivatives (l, e, p), else (0,)."""
        points = np.ascontiguousarray(points)
        breaks, basis, coefficients = self._arrays(points.dtype)
        values = np.empty((self.shape[-1], points.shape[1]), dtype=points.dtype)
        derivatives = np.empty((len(points) if slopes else 0, *values.shape), dtype=points.dtype)
        _evaluate(points, breaks, self._guide, basis, self._strides, coefficients, values, derivatives)
        return values, derivatives

    def evaluate_tensor(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The same on any device: values (e, p) and derivatives (l, e, p) at points (l, p)."""
        key = (points.dtype, points.device)
        if key not in self._tensors:
            floats = (self._breaks, self._basis, self._coefficients)
            self._tensors[key] = [torch.as_tensor(x, dtype=points.dtype, device=points.device) for x in floats]
        parts = [self._gather(part, *self._tensors[key]) for part in torch.split(points, _DEVICE_PIXELS, dim=1)]
        return torch.cat([v for v, _ in parts], dim=1), torch.cat([s for _, s in parts], dim=2)

    def _gather(self, points: Tensor, breaks: Tensor, basis: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        layers, pixels = points.shape
        index = torch.zeros((pixels, 1), dtype=torch.long, device=points.device)
        weights = [torch.ones((pixels, 1), dtype=points.dtype, device=points.device)] * (1 + layers)
        taps = torch.arange(_TAPS, device=points.device)
        for k in range(layers):
            edges = breaks[k, : self._counts[k] + 1]
            at = points[k].clamp(edges[0], edges[-1])
            m = (torch.searchsorted(edges, at.detach().contiguous(), right=True) - 1).clamp(0, int(self._counts[k]) - 1)
            width = edges[m + 1] - edges[m]
            u = ((at - edges[m]) / width)[:, None]
            b = basis[k, m]
            value = ((b[..., 3] * u + b[..., 2]) * u + b[..., 1]) * u + b[..., 0]
            inside = ((points[k] >= edges[0]) & (points[k] <= edges[-1])).to(points.dtype)
            slope = ((3 * b[..., 3] * u + 2 * b[..., 2]) * u + b[..., 1]) * (inside / width)[:, None]
            factors = [slope if j == k + 1 else value for j in range(1 + layers)]
            weights = [(w[:, :, None] * f[:, None, :]).flatten(1) for w, f in zip(weights, factors, strict=True)]
            index = (index[:, :, None] + ((m[:, None] + taps) * int(self._strides[k]))[:, None, :]).flatten(1)
        sums = torch.zeros((1 + layers, pixels, coefficients.shape[1]), dtype=points.dtype, device=points.device)
        for tap in range(index.shape[1]):
            nodes = coefficients[index[:, tap]]
            for total, weight in zip(sums, weights, strict=True):
                total.addcmul_(weight[:, tap, None], nodes)
        sums = sums[..., : self.shape[-1]]
        return sums[0].T, sums[1:].transpose(1, 2)


class _Interpolate(torch.autograd.Function):
    """Values (e, p) and, where a derivative may be asked for, their slopes (l, e, p)."""

    @staticmethod
    def forward(points: Tensor, spline: TensorSpline) -> tuple[Tensor, Tensor]:
        if points.device.type != "cpu":
            return spline.evaluate_tensor(points)
        values, slopes = spline.evaluate(points.detach().numpy(), slopes=True)
        return torch.from_numpy(values), torch.from_numpy(slopes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, TensorSpline], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * gradients[0]).sum(1), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * tangents[0][:, None]).sum(0), None


def _basis(breaks: np.ndarray) -> np.ndarray:
    """The four basis functions on each interval as polynomials of u in [0, 1]: (interval, function, power)."""
    end = _TAPS - 1
    knots = np.concatenate([np.repeat(breaks[0], end), breaks, np.repeat(breaks[-1], end)])
    u = np.linspace(0.1, 0.9, _TAPS)
    powers = np.linalg.inv(np.vander(u, increasing=True))
    intervals = len(breaks) - 1
    points = (breaks[:-1, None] + np.diff(breaks)[:, None] * u).ravel()
    dense = BSpline.design_matrix(points, knots, _TAPS - 1).toarray().reshape(intervals, _TAPS, -1)
    values = np.stack([dense[m, :, m : m + _TAPS] for m in range(intervals)])  # (interval, point, function)
    return np.asarray(np.einsum("cp,mpf->mfc", powers, values))


@_jit
def _evaluate(
    points: np.ndarray,
    breaks: np.ndarray,
    guide: np.ndarray,
    basis: np.ndarray,
    strides: np.ndarray,
    coefficients: np.ndarray,
    values: np.ndarray,
    derivatives: np.ndarray,
) -> None:
    """Values (e, p) and derivatives (l or 0, e, p); a block of pixels is summed in a buffer and then transposed."""
    layers, pixels = points.shape
    orders = 1 + derivatives.shape[0]
    factors = np.empty((layers, 2, _TAPS), dtype=points.dtype)
    buffer = np.empty((_LANES, orders, coefficients.shape[1]), dtype=points.dtype)
    for start in range(0, pixels, _LANES):
        lanes = min(_LANES, pixels - start)
        for i in range(lanes):
            node = 0
            for k in range(layers):
                node += _basis_at(points[k, start + i], k, breaks, guide, basis, orders > 1, factors) * strides[k]
            for order in range(orders):
                _sum_taps(coefficients, node, strides, factors, order, buffer, i)
        for e in range(values.shape[0]):
            for i in range(lanes):
                values[e, start + i] = buffer[i, 0, e]
            for k in range(orders - 1):
                for i in range(lanes):
                    derivatives[k, e, start + i] = buffer[i, k + 1, e]


@_jit
def _sum_taps(
    coefficients: np.ndarray,
    corner: int,
    strides: np.ndarray,
    factors: np.ndarray,
    order: int,
    buffer: np.ndarray,
    lane: int,
) -> None:
    """One pixel's value (order 0) or derivative by thickness order - 1.

    Four taps at a time: neighbours along the last axis, whose coefficients lie side by side. Two bits of ``tap`` an
    axis say which basis function of the other axes.
    """
    last = factors.shape[0] - 1
    row = 1 if order == last + 1 else 0
    for e in range(buffer.shape[2]):
        buffer[lane, order, e] = 0
    for tap in range(1 << (2 * last)):
        node = corner
        w0, w1, w2, w3 = factors[last, row, 0], factors[last, row, 1], factors[last, row, 2], factors[last, row, 3]
        for k in range(last):
            f = (tap >> (2 * k)) & 3
            node += f * strides[k]
            w = factors[k, 1 if order == k + 1 else 0, f]
            w0, w1, w2, w3 = w0 * w, w1 * w, w2 * w, w3 * w
        for e in range(buffer.shape[2]):
            buffer[lane, order, e] += (w0 * coefficients[node, e] + w1 * coefficients[node + 1, e]) + (
                w2 * coefficients[node + 2, e] + w3 * coefficients[node + 3, e]
            )


@_jit
def _basis_at(
    d: np.float64,
    k: int,
    breaks: np.ndarray,
    guide: np.ndarray,
    basis: np.ndarray,
    slopes: bool,
    factors: np.ndarray,
) -> int:
    """Interval of a thickness on axis k, and there the basis functions (row 0) and their ``slopes`` (row 1).

    ``guide`` (l, bins + 1) holds the interval in which each of evenly spaced thicknesses lies.
    """
    first, last = breaks[k, 0], breaks[k, breaks.shape[1] - 1]
    bins = guide.shape[1] - 1
    inside = first <= d <= last
    at = d if inside else (last if d > last else (first if d < first else d))  # not a number stays so
    low = guide[k, int((at - first) / (last - first) * bins)] if at == at else 0
    while at >= breaks[k, low + 1] and breaks[k, low + 1] < last:
        low += 1
    while at < breaks[k, low]:
        low -= 1
    width = breaks[k, low + 1] - breaks[k, low]
    u = (at - breaks[k, low]) / width
    for f in range(_TAPS):
        b1, b2, b3 = basis[k, low, f, 1], basis[k, low, f, 2], basis[k, low, f, 3]
        factors[k, 0, f] = ((b3 * u + b2) * u + b1) * u + basis[k, low, f, 0]
        if slopes:
            slope = ((b3 + b3 + b3) * u + b2 + b2) * u + b1
            factors[k, 1, f] = slope / width if inside else slope - slope
    return int(low)
