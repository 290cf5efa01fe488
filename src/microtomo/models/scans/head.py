"""What a head is: the meaning of a network's last layer, its loss, and what is set once the weights are final."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from microtomo.discovery import discover
from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import Stack

if TYPE_CHECKING:
    from microtomo.models.scans.network import SemNetwork


class KnownScan(NamedTuple):
    """One scan (1, e, y, x), the thickness (1, l, y, x) [nm] that it is of, and the problem that it poses."""

    signal: Tensor
    thickness: Tensor
    problem: Problem


class CalibrationScans(Protocol):
    """Scans of known structures, neither trained on nor scored, the same every time."""

    samples: int
    """Scans that error bars are set on, for each noise level."""
    few: int
    """Scans that choices are made on, each of which takes many estimates."""

    def scans(
        self, samples: int, noise: float | None = None, structures: Mapping[str, float] | None = None
    ) -> Iterator[KnownScan]:
        """Scans one by one: of the usual or another relative noise, of structures as in training or of other kinds."""

    def thickness(self, samples: int) -> Iterator[Tensor]:
        """Thickness (1, l, y, x) [nm] of structures as in training, one by one."""


class Head(nn.Module, ABC):
    """The meaning of a network's last layer for scans of ``stack``; outputs have ``channels`` along their axis c.

    ``depth`` voxels of ``voxel_nm`` hold the volume. ``with_empty``: whether a network that gives voxels has a class
    for empty ones.
    """

    channels: int

    def __init__(self, stack: Stack, depth: int = 16, voxel_nm: float = 10.0, with_empty: bool = True) -> None:
        super().__init__()
        self.stack, self.depth, self.voxel_nm, self.with_empty = stack, depth, voxel_nm, with_empty

    @abstractmethod
    def loss(self, output: Tensor, thickness: Tensor, weights: Tensor) -> Tensor:
        """Mean loss (scalar) of an output against thickness (n, l, y, x) [nm]; ``weights`` (l,) average 1."""

    @abstractmethod
    def estimate(self, output: Tensor, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume that an output means; needs no gradient."""

    @abstractmethod
    def calibrate(self, network: SemNetwork, source: CalibrationScans) -> None:
        """Set the buffers of this head, which is that of ``network``, on scans of known structures."""


_HEADS: dict[tuple[str, bool], type[Head]] = {}
Kind = TypeVar("Kind", bound=type[Head])


def register_head(name: str, *, volumetric: bool) -> Callable[[Kind], Kind]:
    """Decorator that makes a class the head ``name`` of networks that give maps, or of ``volumetric`` ones."""

    def add(head: Kind) -> Kind:
        if (name, volumetric) in _HEADS:
            raise MicrotomoError(f"head {name!r} is registered twice")
        _HEADS[name, volumetric] = head
        return head

    return add


def head_class(name: str, volumetric: bool) -> type[Head]:
    """The head of that name. Raises MicrotomoError with the known names where there is none."""
    known = [each for each, of_volumes in _heads() if of_volumes == volumetric]
    if name not in known:
        kind = "voxels" if volumetric else "maps"
        raise MicrotomoError(f"unknown head {name!r} for a network that gives {kind}; {nearest(name, known)}")
    return _HEADS[name, volumetric]


def head_names() -> list[str]:
    """Names of all heads."""
    return sorted({name for name, _ in _heads()})


def _heads() -> Mapping[tuple[str, bool], type[Head]]:
    discover("microtomo.models.scans.heads")
    return _HEADS


def all_converged(signal: Tensor) -> Tensor:
    """True for every pixel (n, y, x) of scans (n, e, y, x): a network always answers."""
    return torch.ones_like(signal[:, 0], dtype=torch.bool)
