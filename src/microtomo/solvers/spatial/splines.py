"""Cubic B-splines on an image: smooth surfaces with few numbers, so that they and their errors are exact.

A surface is ``By @ c @ Bx.T``, with coefficients c (i, j) of splines at every ``spacing`` pixels. Products of splines
are separable, and only neighbours at most 3 apart overlap: sums over the pixels are a few small matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

_REACH = 4  # splines that overlap at a place, a side


class Surface:
    """The splines of an image (y, x), float64, on its own coefficients (i * j)."""

    def __init__(self, height: int, width: int, spacing: float) -> None:
        self._spacing = spacing
        self.rows, self.columns = splines(height, spacing), splines(width, spacing)
        self.shape = (self.rows.shape[1], self.columns.shape[1])
        self.count = self.shape[0] * self.shape[1]

    def values(self, coefficients: Tensor) -> Tensor:
        """Surface (y, x) of coefficients (i * j,)."""
        return self.rows @ coefficients.reshape(self.shape) @ self.columns.T

    def adjoint(self, image: Tensor) -> Tensor:
        """Sums (i * j,) over the pixels of an image (y, x) times each spline."""
        return (self.rows.T @ image @ self.columns).flatten()

    def products(self, weight: Tensor) -> Tensor:
        """Matrix (i * j, i * j) of the sums over the pixels of ``weight`` (y, x) times two splines."""
        out = weight.new_zeros((*self.shape, *self.shape))
        for a, first in _pairs(self.rows):
            left = first.T @ weight
            for b, second in _pairs(self.columns):
                sums = left @ second
                i, j = torch.arange(len(sums)), torch.arange(sums.shape[1])
                at = (i[:, None] + max(0, -a), j[None] + max(0, -b), i[:, None] + max(0, a), j[None] + max(0, b))
                out[at] = sums
        return out.reshape(self.count, self.count)

    def variance(self, covariance: Tensor) -> Tensor:
        """Variance (y, x) of the surface, from the covariance (i * j, i * j) of its coefficients."""
        four = covariance.reshape(*self.shape, *self.shape)
        out = covariance.new_zeros((len(self.rows), len(self.columns)))
        for a, first in _pairs(self.rows):
            for b, second in _pairs(self.columns):
                i, j = torch.arange(first.shape[1]), torch.arange(second.shape[1])
                at = (i[:, None] + max(0, -a), j[None] + max(0, -b), i[:, None] + max(0, a), j[None] + max(0, b))
                out += first @ four[at] @ second.T
        return out

    def bending(self) -> Tensor:
        """Matrix (i * j, i * j) of the thin-plate energy, the integral of f_yy^2 + 2 f_xy^2 + f_xx^2 [1/pixel^2]."""
        (y0, y1, y2), (x0, x1, x2) = (_integrals(n, self._spacing) for n in self.shape)
        return torch.kron(y2, x0) + 2 * torch.kron(y1, x1) + torch.kron(y0, x2)


def splines(size: int, spacing: float) -> Tensor:
    """Values (pixel, spline) of the cubic B-splines that reach into ``size`` pixels."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / spacing
    count = int(torch.ceil(at[-1])) + 3
    t = (at[:, None] - torch.arange(-1, count - 1, dtype=torch.float64)).abs()
    return torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp_min(0) ** 3 / 6)


def _pairs(values: Tensor) -> list[tuple[int, Tensor]]:
    """Products (pixel, i) of spline i with the one ``offset`` further on, for all offsets that overlap."""
    count = values.shape[1]
    most = min(_REACH, count)
    return [
        (a, values[:, max(0, -a) : count - max(0, a)] * values[:, max(0, a) : count - max(0, -a)])
        for a in range(1 - most, most)
    ]


def _integrals(count: int, spacing: float) -> list[Tensor]:
    """Integrals (count, count) of the products of two splines, of their slopes and of their second derivatives, over
    the knots 0 .. count - 3, by Gauss and Legendre's rule (exact for these polynomials)."""
    nodes = torch.tensor([-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526])
    weights = torch.tensor([0.3478548451374538, 0.6521451548625461, 0.6521451548625461, 0.3478548451374538])
    cells = torch.arange(count - 3, dtype=torch.float64)[:, None]
    at = (cells + 0.5 + nodes.double() / 2).flatten()
    weight = weights.double().repeat(count - 3) / 2
    signed = at[:, None] - torch.arange(-1, count - 1, dtype=torch.float64)
    t, sign = signed.abs(), signed.sign()
    far = (2 - t).clamp_min(0)
    value = torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, far**3 / 6)
    slope = torch.where(t < 1, 1.5 * t**2 - 2 * t, -(far**2) / 2) * sign / spacing
    curve = torch.where(t < 1, 3 * t - 2, far) / spacing**2
    return [spacing * v.T @ (weight[:, None] * v) for v in (value, slope, curve)]
