"""What every reconstruction method is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from microtomo.materials import Stack
from microtomo.physics.forward import ForwardModel
from microtomo.physics.surroundings import Surroundings

Answer = tuple[Tensor, Tensor, Tensor, Tensor]
"""Thickness and deviation (l, ...) [nm], volume (z, ...) and converged (...) of one sample or a part of it."""


@dataclass(frozen=True)
class Problem:
    """The inverse problem: forward model, relative noise level of each sample (n,), and how volumes are drawn.

    ``surroundings``, of scans with lateral spread, are what surrounds the pixels of the only sample; ``forward`` is
    then the model of a typical pixel, and the scan is as recorded. ``levels`` are the thicknesses [nm] of each layer
    that occur, 0 among them, where they are known.
    """

    forward: ForwardModel
    noise: Tensor
    depth: int = 16
    voxel_nm: float = 10.0
    rule: str = "floor"
    surroundings: Surroundings | None = None
    levels: tuple[Tensor, ...] | None = None

    def part(self, rows: slice, columns: slice) -> Problem:
        """The problem of a part of the image."""
        given = self.surroundings
        return self if given is None else replace(self, surroundings=given.part(rows, columns))

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
