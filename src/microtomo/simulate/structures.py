"""Random layer structures: Perlin terraces as published, continuous fields, lithographic shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sin
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from microtomo.errors import MicrotomoError, nearest
from microtomo.materials import Stack
from microtomo.simulate.perlin import gradient_noise, random_gradients


def make_structure(stack: Stack, kind: str, layer_seeds: Sequence[int], height: int, width: int) -> Tensor:
    """Thickness maps (l, y, x) [nm], float32, of one structure.

    Each layer depends on its own seed (0..2^64 - 1) alone, so data sets whose layer seeds are disjoint share no field.
    ``kind`` is one of :data:`KINDS`. Raises MicrotomoError for an unknown kind or a size below 1.
    """
    if kind not in KINDS:
        raise MicrotomoError(f"unknown structure kind {kind!r}; {nearest(kind, list(KINDS))}")
    if height < 1 or width < 1:
        raise MicrotomoError(f"image size {height} x {width} is impossible: give at least 1 x 1 pixel")
    if len(layer_seeds) != len(stack.layers):
        raise MicrotomoError(f"{len(layer_seeds)} layer seeds for {len(stack.layers)} layers: give one each")
    fields = [
        KINDS[kind](k, layer.max_nm, seed, height, width)
        for k, (layer, seed) in enumerate(zip(stack.layers, layer_seeds, strict=True))
    ]
    return torch.stack(fields).float()


def perlin_terraces(k: int, max_nm: float, seed: int, height: int, width: int) -> Tensor:
    """Published terraces (report, "Data Representation"): n = int(20 p) (first layer) or int(10 p) (others) steps
    of the positive part of a 2 x 2-cell field p, scaled so that the largest is ``max_nm``, whole nanometres."""
    p = _positive_noise(seed, height, width)
    steps = torch.floor(p * (20 if k == 0 else 10))
    return torch.floor(steps * max_nm / steps.max().clamp_min(1))


def perlin_continuous(k: int, max_nm: float, seed: int, height: int, width: int) -> Tensor:
    """The same fields without terraces: positive part scaled so that the largest is ``max_nm``."""
    p = _positive_noise(seed, height, width)
    return p * (max_nm / p.max().clamp_min(1e-9))


def _positive_noise(seed: int, height: int, width: int) -> Tensor:
    return gradient_noise(random_gradients(seed), height, width).clamp_min(0)


def experimental(k: int, max_nm: float, seed: int, height: int, width: int) -> Tensor:
    """The report's experimental structure: three gold pads of 2/3, 1 and 1/3 of the range under one square of the
    upper layer(s); drawn for 128 x 128 and scaled to the size asked for. Has no randomness."""
    gold = [(64, 106, 21, 63, 2 / 3), (64, 106, 63, 106, 1.0), (21, 64, 63, 106, 1 / 3)]
    pads = gold if k == 0 else [(43, 85, 43, 85, 1.0)]
    field = torch.zeros(height, width, dtype=torch.float64)
    for top, bottom, left, right, share in pads:
        rows = slice(round(top * height / 128), round(bottom * height / 128))
        field[rows, round(left * width / 128) : round(right * width / 128)] = share * max_nm
    return field


def lithography(k: int, max_nm: float, seed: int, height: int, width: int) -> Tensor:
    """1 to 6 sharp-edged shapes (pads, discs, stripes, steps), the later on top, turned by any angle in half of the
    cases; each with its own thickness between 10 % and all of the range."""
    draw = np.random.Generator(np.random.Philox(key=seed)).uniform
    y = (torch.arange(height, dtype=torch.float64)[:, None] + 0.5) / height - 0.5
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5
    field = torch.zeros(height, width, dtype=torch.float64)
    for _ in range(1 + int(draw(0, 6))):
        angle = draw(0, pi) if draw(0, 1) < 0.5 else 0.0
        cy, cx = draw(-0.4, 0.4), draw(-0.4, 0.4)
        u = (x - cx) * cos(angle) + (y - cy) * sin(angle)
        v = (y - cy) * cos(angle) - (x - cx) * sin(angle)
        thickness, half_u, half_v = draw(0.1, 1.0) * max_nm, draw(0.05, 0.3), draw(0.05, 0.3)
        shape = int(draw(0, 4))
        inside = (u.abs() < half_u) & (v.abs() < half_v)
        value = torch.full_like(field, thickness)
        if shape == 1:
            inside = u**2 + v**2 < half_u**2
        elif shape == 2:
            period = draw(0.06, 0.2)
            inside = inside & (torch.remainder(u / period, 1.0) < draw(0.3, 0.7))
        elif shape == 3:
            count = 2 + int(draw(0, 4))
            step = torch.floor((u + half_u) / (2 * half_u) * count).clamp(0, count - 1) + 1
            value = thickness * step / count
        field = torch.where(inside, value, field)
    return field


def pads(k: int, max_nm: float, seed: int, height: int, width: int) -> Tensor:
    """The shapes of :func:`lithography` in round thicknesses, as process sheets name them: fifteenths of the range."""
    step = max_nm / 15
    return torch.ceil(lithography(k, max_nm, seed, height, width) / step - 1e-9) * step


KINDS: dict[str, Callable[[int, float, int, int, int], Tensor]] = {
    "perlin": perlin_terraces,
    "continuous": perlin_continuous,
    "lithography": lithography,
    "pads": pads,
    "experimental": experimental,
}
"""Structure kinds by name: field(layer index, max_nm, seed, height, width) -> (y, x) [nm], float64."""


def _known(mix: dict[str, float]) -> dict[str, float]:
    for kind in mix:
        if kind not in KINDS:
            raise ValueError(f"unknown structure kind {kind!r}; {nearest(kind, list(KINDS))}")
    return mix


StructureMix = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1), AfterValidator(_known)
]
"""Structure kinds with their weights, as configurations give them."""
