"""What every reconstruction method is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from microtomo.materials import Stack
from microtomo.physics.forward import ForwardModel

Answer = tuple[Tensor, Tensor, Tensor, Tensor]
"""Thickness and deviation (l, ...) [nm], volume (z, ...) and converged (...) of one sample or a part of it."""


@dataclass(frozen=True)
class Problem:
    """The inverse problem: forward model, relative noise level of each sample (n,), and how volumes are drawn."""

    forward: ForwardModel
    noise: Tensor
    depth: int = 16
    voxel_nm: float = 10.0
    rule: str = "floor"

    @property
    def stack(self) -> Stack:
        """The stack that the forward model is for."""
        return self.forward.stack


@dataclass(frozen=True)
class Estimate:
    """What a method finds: thickness and standard deviation (n, l, y, x) [nm], volume (n, z, y, x) uint8, and
    ``converged`` (n, y, x) bool. A method is ``run(signal (n, e, y, x), problem) -> Estimate``."""

    thickness: Tensor
    uncertainty: Tensor
    volume: Tensor
    converged: Tensor
