"""The discontinuity-preserving prior on an image of labels: belief propagation, energy and moves.

Labels are combinations of levels, one of each layer. Neighbours (4 of them) that differ pay ``jump`` for every level
in between, at most ``most``, layer by layer: a truncated linear prior that lets a terrace end anywhere, once.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from microtomo.solvers.spatial.kernels import compiled, compiled_parallel, inlined

_CAP = 60.0  # largest misfit that a single pixel may hold against its neighbours
_FLOOR = 1e-5  # least share of a message that is spread over all labels
_NEGLIGIBLE = 1e-15  # beliefs below this are 0: numbers that small slow every later product down tenfold
_ACTIVE = 1e-5  # labels below this share of a pixel's belief send nothing


def level_cost(count: int, jump: float, most: float) -> np.ndarray:
    """Cost (count, count) of a step between two levels of one layer."""
    index = np.arange(count)
    step: np.ndarray = np.minimum(np.abs(index[:, None] - index) * jump, most).astype(np.float32)
    return step


def joint_cost(shape: tuple[int, ...], jump: float, most: float) -> np.ndarray:
    """Cost (L, L) of a step between two labels: the sum over the layers."""
    total = np.zeros((1, 1), np.float32)
    for count in shape:
        step = level_cost(count, jump, most)
        size = len(total) * count
        total = (total[:, None, :, None] + step[None, :, None, :]).reshape(size, size)
    return total


def beliefs(cost: Tensor, step: np.ndarray, rounds: int) -> Tensor:
    """Marginal probability (y, x, L) of every label, see :func:`beliefs_and_change`."""
    return _propagated(cost, step, rounds, False)[0]


def beliefs_and_change(cost: Tensor, step: np.ndarray, rounds: int) -> tuple[Tensor, Tensor]:
    """Marginal probability (y, x, L) of every label: sum-product belief propagation in sweeps; and the share (y, x) of
    a pixel's probability that the last round moved from some labels to others, 0 to 1.

    ``cost`` (y, x, L) is the misfit of every label, ``step`` (L, L) the cost between neighbours. Messages pass along
    rows forth and back, then along columns, ``rounds`` times (Pearl 1988; Tappen & Freeman 2003). On the CPU a
    compiled kernel works row by row; elsewhere all rows move together as matrix products.
    """
    belief, before = _propagated(cost, step, rounds, True)
    assert before is not None
    return belief, (belief - before).abs().sum(-1) / 2


def _propagated(cost: Tensor, step: np.ndarray, rounds: int, compare: bool) -> tuple[Tensor, Tensor | None]:
    """Beliefs after ``rounds``, and where wanted those of one round before."""
    data = (cost - cost.amin(-1, keepdim=True)).clamp_max_(_CAP).neg_().exp_().float()
    kernel = np.exp(-step).astype(np.float32)
    if data.device.type != "cpu":
        return _beliefs_by_matrix(data, torch.from_numpy(kernel).to(data.device), rounds, compare)
    array = data.numpy()
    left, right, up, down = (np.ones_like(array) for _ in range(4))
    turned = [a.transpose(1, 0, 2) for a in (array, up, down, left, right)]
    before = None
    for i in range(rounds):
        if compare and i + 1 == rounds:
            before = np.empty_like(array)
            _belief(array, left, right, up, down, before)
        _sweep(array, left, right, up, down, kernel)
        _sweep(turned[0], turned[1], turned[2], turned[3], turned[4], kernel)
    _belief(array, left, right, up, down, left)
    return torch.from_numpy(left), None if before is None else torch.from_numpy(before)


def _beliefs_by_matrix(data: Tensor, kernel: Tensor, rounds: int, compare: bool) -> tuple[Tensor, Tensor | None]:
    left, right, up, down = (torch.ones_like(data) for _ in range(4))

    def sweep(data: Tensor, ahead: Tensor, back: Tensor, side: Tensor, other: Tensor) -> None:
        count = data.shape[1]
        fixed = data * side * other
        for message, order in ((ahead, range(1, count)), (back, range(count - 2, -1, -1))):
            toward = 1 if message is ahead else -1
            for i in order:
                belief = fixed[:, i - toward] * message[:, i - toward]
                out = (belief / belief.sum(-1, keepdim=True)) @ kernel
                message[:, i] = out / out.sum(-1, keepdim=True) * ((1 - _FLOOR) * out.shape[-1]) + _FLOOR

    def belief() -> Tensor:
        product = data * left * right * up * down
        product /= product.sum(-1, keepdim=True)
        return torch.where(product < _NEGLIGIBLE, 0.0, product)

    before = None
    for i in range(rounds):
        before = belief() if compare and i + 1 == rounds else None
        sweep(data, left, right, up, down)
        sweep(*(a.transpose(0, 1) for a in (data, up, down, left, right)))
    return belief(), before


@inlined
def _send(
    data: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, out: np.ndarray, kernel: np.ndarray,
    belief: np.ndarray, message: np.ndarray,
) -> None:  # fmt: skip
    labels = data.size
    total = np.float32(0)
    for j in range(labels):
        value = data[j] * a[j] * b[j] * c[j]
        belief[j] = value
        total += value
        message[j] = np.float32(0)
    least = total * np.float32(_ACTIVE)
    for k in range(labels):
        share = belief[k]
        if share > least:
            share /= total
            for j in range(labels):
                message[j] += share * kernel[k, j]
    total = np.float32(0)
    for j in range(labels):
        total += message[j]
    factor = np.float32(1 - _FLOOR) / total * np.float32(labels)
    for j in range(labels):
        out[j] = message[j] * factor + np.float32(_FLOOR)


@compiled_parallel
def _sweep(
    data: np.ndarray, ahead: np.ndarray, back: np.ndarray, side: np.ndarray, other: np.ndarray, kernel: np.ndarray
) -> None:
    """Messages along axis 1, forth into ``ahead`` and back into ``back``; rows are independent."""
    height, width, labels = data.shape
    for y in numba.prange(height):
        belief = np.empty(labels, np.float32)
        message = np.empty(labels, np.float32)
        for x in range(1, width):
            _send(
                data[y, x - 1], side[y, x - 1], other[y, x - 1], ahead[y, x - 1], ahead[y, x], kernel, belief, message
            )
        for x in range(width - 2, -1, -1):
            _send(data[y, x + 1], side[y, x + 1], other[y, x + 1], back[y, x + 1], back[y, x], kernel, belief, message)


@compiled_parallel
def _belief(
    data: np.ndarray, left: np.ndarray, right: np.ndarray, up: np.ndarray, down: np.ndarray, out: np.ndarray
) -> None:
    """Beliefs into ``out``, which may be a message: the product of data and messages, summing to 1 over the labels."""
    height, width, labels = data.shape
    for y in numba.prange(height):
        for x in range(width):
            total = np.float32(0)
            for j in range(labels):
                value = data[y, x, j] * left[y, x, j] * right[y, x, j] * up[y, x, j] * down[y, x, j]
                out[y, x, j] = value
                total += value
            least = total * np.float32(_NEGLIGIBLE)
            for j in range(labels):
                value = out[y, x, j]
                out[y, x, j] = value / total if value > least else np.float32(0)


@compiled
def energy(cost: np.ndarray, step: np.ndarray, label: np.ndarray) -> float:
    """Misfit of all pixels (y, x, L) plus the steps between all neighbours."""
    height, width = label.shape
    total = 0.0
    for y in range(height):
        for x in range(width):
            here = label[y, x]
            total += cost[y, x, here]
            if y + 1 < height:
                total += step[here, label[y + 1, x]]
            if x + 1 < width:
                total += step[here, label[y, x + 1]]
    return total


@compiled
def without(
    cost: np.ndarray, step: np.ndarray, label: np.ndarray, instead: np.ndarray, allowed: np.ndarray, sweeps: int
) -> np.ndarray:
    """Labels after every label l has become ``instead[l]`` (L,) where that differs, and those pixels have then chosen
    among the ``allowed`` labels by iterated conditional modes (Besag 1986)."""
    height, width = label.shape
    found = label.copy()
    for y in range(height):
        for x in range(width):
            found[y, x] = instead[label[y, x]]
    for _ in range(sweeps):
        for y in range(height):
            for x in range(width):
                if instead[label[y, x]] == label[y, x]:
                    continue
                least = np.inf
                for k in allowed:
                    value = cost[y, x, k]
                    if y > 0:
                        value += step[k, found[y - 1, x]]
                    if y + 1 < height:
                        value += step[k, found[y + 1, x]]
                    if x > 0:
                        value += step[k, found[y, x - 1]]
                    if x + 1 < width:
                        value += step[k, found[y, x + 1]]
                    if value < least:
                        least = value
                        found[y, x] = k
    return found
