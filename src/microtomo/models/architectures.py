"""Networks by name: one registry for those of scans and of micrographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from torch import nn

from microtomo.discovery import discover
from microtomo.errors import MicrotomoError, nearest


class Shape(BaseModel):
    """What decides a network's shape: its architecture, and what a class derived from this adds.

    Given as a table, it becomes the configuration of its ``architecture``, which fills in what is left open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str

    @model_validator(mode="wrap")
    @classmethod
    def _of_architecture(cls, given: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        known = _found(str(given.get("architecture"))) if isinstance(given, dict) else None
        if known is None:
            return handler(given)
        if not issubclass(cls, known.config):
            if not issubclass(known.config, cls):
                raise ValueError(f"{known.name} is a network for task {known.task}, not of this kind")
            return known.config.model_validate(given)
        return handler({**cls.of_task(known.task), **known.own, **given})

    @classmethod
    def of_task(cls, task: str) -> dict[str, Any]:
        """Settings that follow from the architecture's task."""
        return {}


class Network(nn.Module):
    """What every network is: a module that keeps the configuration it was built from."""

    config: Any

    @property
    def trunk(self) -> nn.Module:
        """What is taken over from other weights when training starts from them."""
        return self

    @property
    def parameters_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


@dataclass(frozen=True)
class Architecture:
    """A network by name: the task it is for, the class of its configuration, the function that builds it from one, and
    its own choice of what a configuration leaves open."""

    name: str
    task: str
    config: type[Shape]
    build: Callable[[Any], Network]
    own: Mapping[str, Any]


_ARCHITECTURES: dict[str, Architecture] = {}

Build = TypeVar("Build", bound=Callable[[Any], Network])


def add_architecture(name: str, task: str, config: type[Shape], build: Callable[[Any], Network], **own: Any) -> None:
    """Register a network under ``name``. Raises MicrotomoError for a name that is taken."""
    if name in _ARCHITECTURES:
        raise MicrotomoError(f"network {name!r} is registered twice")
    _ARCHITECTURES[name] = Architecture(name, task, config, build, own)


def architectures() -> Mapping[str, Architecture]:
    """All networks by name; every module of this package has been imported."""
    discover("microtomo.models")
    return _ARCHITECTURES


def architecture(name: str) -> Architecture:
    """The network of that name. Raises MicrotomoError with the nearest names where there is none."""
    known = _found(name)
    if known is None:
        raise MicrotomoError(f"unknown network {name!r}; {nearest(name, list(architectures()))}")
    return known


def _found(name: str) -> Architecture | None:
    """The network of that name, or None; only for one that nobody has asked for yet are the modules searched."""
    return _ARCHITECTURES.get(name) or architectures().get(name)


def build_network(config: Shape) -> Network:
    """The network of a configuration, its weights random."""
    return architecture(config.architecture).build(config)
