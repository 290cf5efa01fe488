"""A network for scans: configuration, assembly, and how it becomes a method of the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from torch import Tensor, nn

from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.tiling import joined, tiles
from microtomo.materials import GivenStack, load_stack
from microtomo.models.blocks import INPUTS
from microtomo.models.scans.heads import LevelsHead, ThicknessHead, VoxelHead
from microtomo.physics.forward import ForwardModel, ForwardName, forward_model
from microtomo.registry import Published, register


class Shape(BaseModel):
    """What decides a network's shape, of whatever task: its architecture, and more in each family of networks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str


class NetworkConfig(Shape):
    """Everything that decides a network's shape. The defaults are the published ones.

    ``width``: channels of the first level, None for the published number; ``levels``: poolings, None for the
    published number; ``widest``: most channels of a level, None for no limit; ``input``: the ``signal`` as
    published, or the ``components`` that physics gives it; ``head``: what was ``published``, or a ``posterior`` over
    levels of thickness (2D) or columns of voxels (3D).
    """

    stack: GivenStack = Field(default_factory=lambda: load_stack("au-al-si"))
    forward: ForwardName = Field("published", validation_alias=AliasChoices("forward", "contrast"))
    width: Annotated[int, Field(ge=2, le=512)] | None = None
    levels: Annotated[int, Field(ge=1, le=6)] | None = None
    widest: Annotated[int, Field(ge=2, le=2048)] | None = None
    input: Literal["signal", "components"] = "signal"
    head: Literal["published", "posterior"] = "published"
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


ARCHITECTURES: dict[str, type[Body]] = {}


class SemNetwork(nn.Module):
    """Input layer, body of the architecture, and head. Signal (n, e, y, x) and noise (n,) in, the head's output out."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.architecture not in ARCHITECTURES:
            raise MicrotomoError(
                f"unknown network {config.architecture!r}; {nearest(config.architecture, list(ARCHITECTURES))}"
            )
        self.config = config
        body = ARCHITECTURES[config.architecture]
        self.input = INPUTS[config.input](config.forward_model)
        self.head: ThicknessHead | LevelsHead | VoxelHead
        if body.volumetric:
            self.head = VoxelHead(config.stack, config.depth, config.voxel_nm, body.with_empty)
        elif config.head == "posterior":
            self.head = LevelsHead(config.stack)
        else:
            self.head = ThicknessHead(config.stack)
        self.body = body(self.input.channels, self.head.channels, config)

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
            found = self.head.estimate(self(piece, noise), piece, problem)
            fields = (found.thickness, found.uncertainty, found.volume, found.converged)
            parts.append(([field[..., keep_rows, keep_columns] for field in fields], rows.start + keep_rows.start))
        return Estimate(*(joined([(fields[i], row) for fields, row in parts]) for i in range(4)))

    @property
    def parameters_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


def network(name: str, *, citation: str, published: Published) -> Callable[[type[Body]], type[Body]]:
    """Decorator that makes a :class:`Body` an architecture and a method of the registry under ``name``."""

    def add(body: type[Body]) -> type[Body]:
        ARCHITECTURES[name] = body

        def shipped(forward: str) -> Path:
            from microtomo.models.weights import shipped_weights

            return shipped_weights(name, forward)

        def run(signal: Tensor, problem: Problem, *, weights: str | Path | None = None) -> Estimate:
            from microtomo.models.weights import load_network

            net = load_network(shipped(problem.forward.name) if weights is None else weights)
            _check_fits(net.config, name, problem, weights)
            return net.to(signal.device).estimate(signal, problem)

        run.__doc__ = body.__doc__
        register(name, task="layers", citation=citation, published=published, weights=shipped)(run)
        return body

    return add


def _check_fits(config: NetworkConfig, name: str, problem: Problem, weights: str | Path | None) -> None:
    stack, known = problem.stack, config.stack
    told = f"{name}: the weights that come with the package" if weights is None else f"{weights}: these weights"
    advice = f"train your own with `microtomo train {name}`, or use map"
    if config.architecture != name:
        raise MicrotomoError(
            f"{weights}: these weights are of {config.architecture}: use --method {config.architecture}"
        )
    if config.forward != problem.forward.name:
        raise MicrotomoError(f"{told} are for forward model {config.forward}, not {problem.forward.name}: {advice}")
    if tuple(known.energies_kev) != tuple(stack.energies_kev):
        e = known.energies_kev
        raise MicrotomoError(f"{told} are for {len(e)} energies, {e[0]:g}..{e[-1]:g} keV: {advice}")
    if known.substrate != stack.substrate or known.layers != stack.layers:
        raise MicrotomoError(f"{told} are for stack {known.name} ({', '.join(known.symbols)}): {advice}")
