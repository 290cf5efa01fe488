"""Forward models: what a stack of layers does to a beam, as objects that solvers, networks and pictures share.

A forward model knows its stack and energies, gives the signal of thickness maps, and says of itself what a solver must
know, so that no solver asks for a name. A new one is a file in this room with one class and one decorator.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator
from torch import Tensor

from microtomo.errors import MicrotomoError, nearest
from microtomo.materials import Stack, check_energies
from microtomo.registry import DEFAULT_FORWARD

if TYPE_CHECKING:
    from microtomo.physics.spread_physics import SpreadPhysics


Progress = Callable[[int, int], None]
"""Told after each part of long work: parts done, parts in all."""


@dataclass(frozen=True)
class ForwardModel(ABC):
    """Signal over bare substrate (1 = substrate) of layers on a substrate, without noise.

    ``local``: the spectrum of a pixel depends on that pixel alone. ``jumps_at_zero``: the signal jumps where a layer
    vanishes, so that its slope at thickness 0 means nothing and an absent layer must stay absent in a descent.
    """

    stack: Stack

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    local: ClassVar[bool] = True
    jumps_at_zero: ClassVar[bool] = False

    @property
    def energies_kev(self) -> tuple[float, ...]:
        """Beam energies [keV], increasing."""
        return self.stack.energies_kev

    def with_energies(self, energies_kev: Sequence[float]) -> Self:
        """The same model for other beam energies [keV]. Raises MicrotomoError for impossible ones."""
        energies = tuple(float(e) for e in energies_kev)
        try:
            check_energies(energies)
        except ValueError as error:
            raise MicrotomoError(str(error)) from None
        return replace(self, stack=self.stack.model_copy(update={"energies_kev": energies}))

    def covering(self, thickest_nm: Sequence[float]) -> ForwardModel:
        """A model that holds for layers (l,) of these thicknesses [nm] too; itself where it holds for any.

        Raises MicrotomoError where none does.
        """
        return self

    def prepare(self, progress: Progress | None = None) -> None:
        """Do now what takes long and is done once; ``progress`` is told of parts done, and of parts in all."""
        return

    @abstractmethod
    def __call__(self, thickness: Tensor) -> Tensor:
        """Signal (..., e, y, x) of thickness maps (..., l, y, x) [nm], layers bottom to top.

        Any float dtype and device; differentiable. Raises MicrotomoError where the layer axis does not fit the stack.
        """

    @abstractmethod
    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """Signal (e, y, x) of one float32 array (l, y, x) [nm] by a compiled kernel on one core, without gradients.

        A pixel's spectrum is the same to the bit wherever the pixel stands.
        """

    @abstractmethod
    def bulk_signal(self) -> Tensor:
        """Signal (l, e) float64 of each layer's material alone, so thick that nothing shows through."""

    @abstractmethod
    def transmitted(self, layer: int) -> float:
        """Share of the beam of the highest energy that comes through a layer of its greatest thickness."""

    @property
    def local_model(self) -> ForwardModel:
        """The model of each pixel alone, which solvers take: itself where it is local."""
        return self

    @property
    def history(self) -> dict[str, Any]:
        """What a scan must say of the model beside the name of its local one, plain values."""
        return {}

    def spread_physics(self) -> SpreadPhysics:
        """What lateral spread asks of a local model. Raises MicrotomoError where it cannot say."""
        raise MicrotomoError(
            f"forward model {self.name} does not say what films do to electrons on their way up, which lateral spread "
            "needs: use --forward transport"
        )

    def doubt(self, thickness: Tensor) -> Tensor | None:
        """What the physics itself may be wrong by at flat pixels (l, p) [nm]: independent directions (m, e, p) of the
        signal's logarithm, each one standard deviation long and common to all pixels; None where nothing is known."""
        return None

    def response(self, thickness: Tensor) -> Tensor:
        """Signal (e, p) of flat pixels (l, p) [nm]; float32 on the CPU goes through the compiled kernel."""
        if thickness.device.type == "cpu" and thickness.dtype == torch.float32 and not thickness.requires_grad:
            return torch.from_numpy(self.fast(thickness[:, None].numpy())[:, 0])
        return self(thickness[:, None])[:, 0]

    def image(self, thickness: Tensor) -> Tensor:
        """Signal (e, y, x) of one sample (l, y, x) [nm], by the compiled kernel where nobody asks for more."""
        if thickness.device.type == "cpu" and thickness.dtype == torch.float32 and not thickness.requires_grad:
            return torch.from_numpy(self.fast(thickness.numpy()))
        return self(thickness)

    def check_layers(self, shape: Sequence[int]) -> None:
        """Raise MicrotomoError unless a shape (..., l, y, x) has the layers of the stack."""
        if len(shape) < 3 or shape[-3] != len(self.stack.layers):
            raise MicrotomoError(
                f"thickness has shape {tuple(shape)}; stack {self.stack.name} wants (..., {len(self.stack.layers)}, "
                "y, x)"
            )


_MODELS: dict[str, type[ForwardModel]] = {}
_Model = TypeVar("_Model", bound=type[ForwardModel])


def register_forward(name: str, *, citation: str) -> Callable[[_Model], _Model]:
    """Decorator that makes a class a forward model under ``name``; its docstring's first line is its summary.

    Raises MicrotomoError for a name that is taken and for a class without a docstring.
    """

    def add(model: _Model) -> _Model:
        if name in _MODELS:
            raise MicrotomoError(f"forward model {name!r} is registered twice")
        lines = (model.__dict__.get("__doc__") or "").strip().splitlines()
        if not lines:
            raise MicrotomoError(f"forward model {name!r} has no docstring: say in its first line what it does")
        model.name, model.summary, model.citation = name, lines[0], citation
        _MODELS[name] = model
        return model

    return add


def list_forward_models() -> list[type[ForwardModel]]:
    """All registered forward models, by name."""
    import microtomo.physics as room

    for module in pkgutil.iter_modules(room.__path__):
        import_module(f"{room.__name__}.{module.name}")
    return [_MODELS[name] for name in sorted(_MODELS)]


def forward_names() -> list[str]:
    """Names of all forward models."""
    return [model.name for model in list_forward_models()]


def forward_class(name: str) -> type[ForwardModel]:
    """The forward model of that name. Raises MicrotomoError with the known names when there is none."""
    if name not in _MODELS:
        known = forward_names()
        if name not in known:
            raise MicrotomoError(f"unknown forward model {name!r}; {nearest(name, known)}")
    return _MODELS[name]


def forward_model(
    forward: ForwardModel | str, stack: Stack, energies_kev: Sequence[float] | None = None
) -> ForwardModel:
    """A forward model from itself or its name, for a stack and, where given, other energies [keV] than the stack's."""
    model = forward if isinstance(forward, ForwardModel) else forward_class(forward)(stack)
    return model if energies_kev is None else model.with_energies(energies_kev)


def _known(name: str) -> str:
    return forward_class(name).name


ForwardName = Annotated[str, AfterValidator(_known)]
"""Name of a forward model, as configurations give it."""


def backscatter(
    thickness: Tensor,
    stack: Stack,
    forward: str = DEFAULT_FORWARD,
    energies_kev: Sequence[float] | None = None,
    *,
    contrast: str | None = None,
) -> Tensor:
    """Signal over bare substrate of a stack of layers, without noise.

    Parameters
    ----------
    thickness
        (..., l, y, x) [nm], layers bottom to top; float32 or float64, any device. Differentiable.
    forward, contrast
        Name of a forward model, see :func:`list_forward_models`; ``contrast`` is another word for it.
    energies_kev
        Beam energies [keV]; the stack's own when not given.

    Returns
    -------
    (..., e, y, x), dimensionless, 1 = bare substrate.

    Raises
    ------
    MicrotomoError
        For an unknown forward model or a layer axis that does not fit the stack.
    """
    model = forward_model(contrast or forward, stack, energies_kev)
    model.check_layers(thickness.shape)
    return model.covering(thickest(thickness))(thickness)


def thickest(thickness: Tensor) -> list[float]:
    """Greatest thickness [nm] of each layer of maps (..., l, y, x)."""
    return [float(layer.max()) if layer.numel() else 0.0 for layer in thickness.detach().movedim(-3, 0)]
