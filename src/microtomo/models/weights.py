"""Weights of networks on disk: safetensors with a card; read as data, never run."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from microtomo.errors import MicrotomoError, nearest
from microtomo.io.atomic import whole_file
from microtomo.models.scans.network import ARCHITECTURES, NetworkConfig, SemNetwork, Shape

FOLDER = Path(__file__).parent.parent / "weights"
_KEY = "microtomo"

Config = TypeVar("Config", bound=Shape)
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Family(Generic[Config, Network]):
    """Networks of one task: what decides a network's shape, how one is made from it, and the architectures known.

    A network keeps its configuration as ``config``.
    """

    config: type[Config]
    build: Callable[[Config], Network]
    architectures: Collection[str]


SCANS = Family(NetworkConfig, SemNetwork, ARCHITECTURES.keys())


def shipped_weights(architecture: str, forward: str) -> Path:
    """Path of the weights that come with the package. Raises MicrotomoError where there are none."""
    path = FOLDER / f"{architecture}-{forward}.safetensors"
    if path.is_file():
        return path
    there = sorted(p.stem.rsplit("-", 1)[1] for p in FOLDER.glob(f"{architecture}-*.safetensors"))
    others = sorted(p.stem.rsplit("-", 1)[0] for p in FOLDER.glob(f"*-{forward}.safetensors"))
    raise MicrotomoError(
        f"{architecture} has no weights for forward model {forward} "
        f"({'only for ' + ', '.join(there) if there else 'none'} come with the package): "
        f"use {' or '.join(others) or 'map'}, or train them with `microtomo train {architecture} "
        f"--set network.forward={forward}`"
    )


def save_weights(path: str | Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Write weights (kernels as float16, all else float32) with the network's ``config`` and a card."""
    config = network.config
    assert isinstance(config, Shape)
    tensors = {
        name: (value.half() if value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    told = {"config": config.model_dump(mode="json"), "card": card}
    with whole_file(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(told, sort_keys=True)}))


def read_card(path: str | Path) -> tuple[NetworkConfig, dict[str, Any]]:
    """Configuration and card of the weights of a network for scans, see :func:`card_of`."""
    return card_of(path, SCANS)


def card_of(path: str | Path, family: Family[Config, Network]) -> tuple[Config, dict[str, Any]]:
    """Configuration and card of a weights file, without its tensors.

    Raises MicrotomoError for a file that is missing, truncated, no safetensors or not of this package and family.
    """
    path = Path(path)
    if not path.is_file():
        raise MicrotomoError(f"{path}: no such file: give the weights.safetensors of a training run")
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})[_KEY])
        name, card = str(told["config"]["architecture"]), dict(told["card"])
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise MicrotomoError(f"{path}: is no complete safetensors file ({error}): copy it again") from None
    except (KeyError, TypeError, ValueError):
        raise MicrotomoError(f"{path}: is no weights file of microtomo: it has no card that fits") from None
    if name not in family.architectures:
        raise MicrotomoError(
            f"{path}: is for network {name!r}, which this version does not know for this task; "
            f"{nearest(name, list(family.architectures))}"
        )
    try:
        return family.config.model_validate(told["config"]), card
    except ValidationError:
        raise MicrotomoError(f"{path}: is no weights file of microtomo: it has no card that fits") from None


def load_network(path: str | Path) -> SemNetwork:
    """The network for scans of a weights file, see :func:`network_of`."""
    return network_of(path, SCANS)


def network_of(path: str | Path, family: Family[Config, Network]) -> Network:
    """The network of a weights file, ready to use. Raises MicrotomoError as :func:`card_of`, and where tensors are
    missing, foreign, of another shape or not finite."""
    path = Path(path)
    stat = path.stat() if path.is_file() else None
    network: Network = _load(path, family, None if stat is None else (stat.st_mtime_ns, stat.st_size))
    return network


@lru_cache(maxsize=4)
def _load(path: Path, family: Family[Any, Any], version: object) -> Any:
    config, _ = card_of(path, family)
    with torch.device("meta"):
        wanted = family.build(config).state_dict()
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        if names != set(wanted):
            odd = sorted(names ^ set(wanted))[0]
            raise MicrotomoError(f"{path}: its tensors are not those of {config.architecture} (see {odd})")
        for name, value in wanted.items():
            shape = tuple(file.get_slice(name).get_shape())
            if shape != tuple(value.shape):
                raise MicrotomoError(
                    f"{path}: tensor {name} is {shape} where {config.architecture} has {tuple(value.shape)}"
                )
        tensors = {name: file.get_tensor(name).to(wanted[name].dtype) for name in names}
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise MicrotomoError(f"{path}: tensor {name} has values that are not finite: copy the file again")
    network = family.build(config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def start_from(network: SemNetwork, path: str | Path) -> None:
    """Take over the body's tensors that have the same name and shape in a weights file, to go on training from them.

    The input layer stays what physics makes it for the forward model. Raises MicrotomoError as :func:`load_network`,
    and where nothing fits.
    """
    take_over(network.body, load_network(path).body, f"{path}: none of its tensors fits {network.config.architecture}")


def take_over(network: nn.Module, other: nn.Module, complaint: str) -> None:
    """Take over another network's tensors that have the same name and shape; MicrotomoError where there is none."""
    given, own = other.state_dict(), network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise MicrotomoError(f"{complaint}: leave start out")
    network.load_state_dict(fitting, strict=False)
