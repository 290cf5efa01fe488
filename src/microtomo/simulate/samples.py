"""Structures drawn from seeds: which sample of which stream."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from microtomo.materials import Stack
from microtomo.seeds import layer_seeds
from microtomo.simulate.structures import make_structure


def draw_structure(stack: Stack, kind: str, seed: int, stream: int, sample: int, height: int, width: int) -> Tensor:
    """Thickness maps (l, y, x) [nm], float32, of one sample of a :class:`microtomo.seeds.Stream`.

    Raises MicrotomoError for an unknown kind, a size below 1 or a seed out of range.
    """
    return make_structure(stack, kind, layer_seeds(seed, stream, sample, len(stack.layers)), height, width)


def draw_structures(
    stack: Stack, kind: str, seed: int, stream: int, samples: Iterable[int], height: int, width: int
) -> Tensor:
    """Thickness maps (n, l, y, x) [nm] of several samples of a stream, see :func:`draw_structure`."""
    return torch.stack([draw_structure(stack, kind, seed, stream, i, height, width) for i in samples])
