"""Charts: every pair of a gold and an aluminium thickness on one image, in patches at random places."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.inverse.leaderboard import Trial
from microtomo.materials import Stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.scan import Scan
from microtomo.seeds import NOISE, Stream, derive_seed
from microtomo.simulate.scans import record

STEPS = (0.0, 1 / 15, 2 / 15, 4 / 15, 6 / 15, 9 / 15, 12 / 15, 1.0)
"""Thickness of the patches in shares of a layer's range: 0 to 15 nm of gold, 0 to 150 nm of aluminium."""


def levels_nm(stack: Stack) -> Tensor:
    """Thicknesses (l, level) [nm] of the patches."""
    exact = torch.tensor(stack.max_nm, dtype=torch.float64)[:, None] * torch.tensor(STEPS, dtype=torch.float64)
    return exact.round(decimals=6).float()  # 10 nm and not a hair less, which would cost a voxel


def chart(stack: Stack, size: int, seed: int) -> Tensor:
    """Thickness maps (l, y, x) [nm] of one chart: 8 x 8 patches, each pair of thicknesses once, their places drawn.

    Raises MicrotomoError for a stack that has not two layers.
    """
    if len(stack.layers) != 2:
        raise MicrotomoError(f"stack {stack.name} has {len(stack.layers)} layers: a chart is of two")
    count = len(STEPS)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(count**2).reshape(count, count)
    at = torch.arange(size) * count // size
    pair = torch.from_numpy(order)[at][:, at]
    levels = levels_nm(stack)
    return torch.stack([levels[0][pair // count], levels[1][pair % count]])


def chart_scans(stack: Stack, trial: Trial, first: int, count: int, size: int, seed: int) -> Scan:
    """Scans (n, e, y, x) of charts ``first`` to ``first + count`` with their truth."""
    numbers = range(first, first + count)
    truth = [chart(stack, size, derive_seed(seed, Stream.CHARTS, i, 0)) for i in numbers]
    detector = Detector(noise=trial.noise)
    data = [
        record(maps, forward_model(trial.forward, stack), detector, derive_seed(seed, Stream.CHARTS, i, NOISE))
        for i, maps in zip(numbers, truth, strict=True)
    ]
    return Scan(
        torch.stack(data), stack.energies_kev, stack=stack, forward=trial.forward, noise=trial.noise,
        truth=torch.stack(truth),
    )  # fmt: skip


def cell_errors(error: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error (n, l, first layer's level, second layer's level) [nm^2] of errors (n, l, y, x) on charts."""
    count = len(STEPS)
    top = truth.amax((2, 3), keepdim=True)
    steps = torch.tensor(STEPS)
    level = (truth[..., None] / top[..., None] - steps).abs().argmin(-1)  # (n, l, y, x)
    pair = (level[:, 0] * count + level[:, 1]).flatten(1)
    squares = (error**2).flatten(2)
    total = squares.new_zeros((*squares.shape[:2], count**2))
    total.scatter_add_(2, pair[:, None].expand_as(squares), squares)
    pixels = torch.stack([torch.bincount(p, minlength=count**2) for p in pair])
    return (total / pixels[:, None]).reshape(*squares.shape[:2], count, count)
