"""A network for scans: configuration, assembly, and how it becomes a method of the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, AliasChoices, Field
from torch import Tensor, nn

from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.tiling import joined, tiles
from microtomo.materials import GivenStack, load_stack
from microtomo.models.architectures import Network, Shape, add_architecture
from microtomo.models.blocks import INPUTS
from microtomo.models.scans.head import CalibrationScans, head_class, head_names
from microtomo.models.weights import load_network, shipped_weights
from microtomo.physics.forward import ForwardModel, ForwardName, forward_model
from microtomo.registry import DEFAULT_FORWARD, Published, register


def _known_head(name: str) -> str:
    if name not in head_names():
        raise ValueError(f"unknown head {name!r}; {nearest(name, head_names())}")
    return name


class NetworkConfig(Shape):
    """Everything that decides a network's shape. The defaults are the published ones.

    ``width``: channels of the first level, None for the published number; ``levels``: poolings, None for the
    published number; ``widest``: most channels of a level, None for no limit; ``input``: the ``signal`` as
    published, or the ``components`` that physics gives it; ``head``: what was ``published``, a ``posterior`` over
    levels of thickness (2D) or columns of voxels (3D), or another head by name.
    """

    stack: GivenStack = Field(default_factory=lambda: load_stack("au-al-si"))
    forward: ForwardName = Field(DEFAULT_FORWARD, validation_alias=AliasChoices("forward", "contrast"))
    width: Annotated[int, Field(ge=2, le=512)] | None = None
    levels: Annotated[int, Field(ge=1, le=6)] | None = None
    widest: Annotated[int, Field(ge=2, le=2048)] | None = None
    input: Literal["signal", "components"] = "signal"
    head: Annotated[str, AfterValidator(_known_head)] = "published"
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    depth: Annotated[int, Field(ge=1, le=256)] = 16
    voxel_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0

    @property
    def forward_model(self) -> ForwardModel:
        """The forward model of the scans that the network is for."""
        return forward_model(self.forward, self.stack)


class Body(nn.Module):
    """What an architecture file defines: features in, outputs for the head out.

    Built as ``body(into, out, config)``. Training sees every output of :meth:`supervised`; the last is the answer.
    """

    volumetric: bool = False
    """Whether it gives voxels, (n, out, z, y, x), where the others give maps, (n, out, y, x)."""
    with_empty: bool = True
    """For voxels: whether "empty" is a class of its own."""

    def supervised(self, x: Tensor) -> list[Tensor]:
        """All outputs that training compares with the truth."""
        return [self(x)]


class SemNetwork(Network):
    """Input layer, body of the architecture, and head. Signal (n, e, y, x) and noise (n,) in, the head's output out."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, body: type[Body]) -> None:
        super().__init__()
        self.config = config
        self.input = INPUTS[config.input](config.forward_model)
        head = head_class(config.head, body.volumetric)
        self.head = head(config.stack, config.depth, config.voxel_nm, body.with_empty)
        self.body = body(self.input.channels, self.head.channels, config)

    @property
    def trunk(self) -> nn.Module:
        """The body alone: the input layer stays what physics makes it for the forward model."""
        return self.body

    def forward(self, signal: Tensor, noise: Tensor) -> Tensor:
        output: Tensor = self.body(self.input(signal, noise))
        return output

    def supervised(self, signal: Tensor, noise: Tensor) -> list[Tensor]:
        """All outputs that training compares with the truth."""
        return self.body.supervised(self.input(signal, noise))

    def estimate(self, signal: Tensor, problem: Problem) -> Estimate:
        """Thickness, deviation and volume of scans (n, e, y, x); large images in overlapping tiles."""
        noise = problem.noise.to(signal)
        parts = []
        for rows, columns, keep_rows, keep_columns in tiles(*signal.shape[-2:]):
            piece = signal[..., rows, columns]
            e = self.head.estimate(self(piece, noise), piece, problem)
            fields = (e.thickness, e.uncertainty, e.volume, e.converged)
            parts.append(([field[..., keep_rows, keep_columns] for field in fields], rows.start + keep_rows.start))
        return Estimate(*(joined([(fields[i], row) for fields, row in parts]) for i in range(4)))

    def loss(self, signal: Tensor, noise: Tensor, thickness: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean loss of all supervised outputs (report, "Stacked UNet": mean over the stacks) against (n, l, y, x) [nm];
        ``weights`` (l,) of the layers average 1, equal when not given."""
        weights = thickness.new_ones(thickness.shape[1]) if weights is None else weights
        return torch.stack([self.head.loss(o, thickness, weights) for o in self.supervised(signal, noise)]).mean()

    def calibrate(self, source: CalibrationScans) -> None:
        """Set the buffers of the head, once the weights are final."""
        self.eval()
        with torch.inference_mode():
            self.head.calibrate(self, source)


def network(name: str, *, citation: str, published: Published) -> Callable[[type[Body]], type[Body]]:
    """Decorator that makes a :class:`Body` an architecture and a method of the registry under ``name``."""

    def add(body: type[Body]) -> type[Body]:
        add_architecture(name, "layers", NetworkConfig, lambda config: SemNetwork(config, body))

        def shipped(forward: str) -> Path:
            return shipped_weights(name, forward)

        def run(signal: Tensor, problem: Problem, *, weights: str | Path | None = None) -> Estimate:
            net = load_network(shipped(problem.forward.name) if weights is None else weights, SemNetwork, name)
            _check_fits(net.config, name, problem, weights)
            return net.to(signal.device).estimate(signal, problem)

        run.__doc__ = body.__doc__
        register(name, task="layers", citation=citation, published=published, weights=shipped)(run)
        return body

    return add


def _check_fits(config: NetworkConfig, name: str, problem: Problem, weights: str | Path | None) -> None:
    stack, known = problem.stack, config.stack
    which = f"{name}: the weights that come with the package" if weights is None else f"{weights}: these weights"
    advice = f"train your own with `microtomo train {name}`, or use map"
    if config.forward != problem.forward.name:
        raise MicrotomoError(f"{which} are for forward model {config.forward}, not {problem.forward.name}: {advice}")
    if tuple(known.energies_kev) != tuple(stack.energies_kev):
        e = known.energies_kev
        raise MicrotomoError(f"{which} are for {len(e)} energies, {e[0]:g}..{e[-1]:g} keV: {advice}")
    if known.substrate != stack.substrate or known.layers != stack.layers:
        raise MicrotomoError(f"{which} are for stack {known.name} ({', '.join(known.symbols)}): {advice}")
