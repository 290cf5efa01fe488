"""Weights of networks on disk: safetensors with a card; read as data, never run."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file
from microtomo.models.architectures import Network, Shape, architecture, build_network
from microtomo.registry import list_methods

FOLDER = Path(__file__).parent.parent / "weights"
_KEY = "microtomo"

Kind = TypeVar("Kind", bound=Network)


def shipped_weights(name: str, forward: str | None = None) -> Path:
    """Path of the weights of a network that come with the package, of networks for scans those for a forward model.

    Raises MicrotomoError where there are none.
    """
    path = FOLDER / f"{name}{f'-{forward}' if forward else ''}.safetensors"
    if path.is_file():
        return path
    if forward is None:
        methods = list_methods(task=architecture(name).task)
        others = [m.name for m in methods if not m.learned or (FOLDER / f"{m.name}.safetensors").is_file()]
        advice = f"use {' or '.join(others)}, or train it" if others else "train it"
        raise MicrotomoError(
            f"{name} has no weights in the package: {advice} with `microtomo train {name} --data "
            "FOLDER` and give --set weights=FILE"
        )
    there = sorted(p.stem.rsplit("-", 1)[1] for p in FOLDER.glob(f"{name}-*.safetensors"))
    others = sorted(p.stem.rsplit("-", 1)[0] for p in FOLDER.glob(f"*-{forward}.safetensors"))
    raise MicrotomoError(
        f"{name} has no weights for forward model {forward} "
        f"({'only for ' + ', '.join(there) if there else 'none'} come with the package): "
        f"use {' or '.join(others) or 'map'}, or train them with `microtomo train {name} "
        f"--set network.forward={forward}`"
    )


def save_weights(path: str | Path, network: Network, card: dict[str, Any]) -> None:
    """Write weights (kernels as float16, all else float32) with the network's ``config`` and a card."""
    tensors = {
        name: (value.half() if value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {"config": network.config.model_dump(mode="json"), "card": card}
    with whole_file(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(metadata, sort_keys=True)}))


def read_card(path: str | Path) -> tuple[Shape, dict[str, Any]]:
    """Configuration and card of a weights file, without its tensors.

    Raises MicrotomoError for a file that is missing, truncated, no safetensors or not of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise MicrotomoError(f"{path}: no such file: give the weights.safetensors of a training run")
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})[_KEY])
        name, card = str(metadata["config"]["architecture"]), dict(metadata["card"])
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise MicrotomoError(f"{path}: is no complete safetensors file ({error}): copy it again") from None
    except (KeyError, TypeError, ValueError):
        raise MicrotomoError(f"{path}: is no weights file of microtomo: it has no card that fits") from None
    try:
        architecture(name)
    except MicrotomoError as error:
        raise MicrotomoError(f"{path}: is for a network that this version does not know: {error}") from None
    try:
        return Shape.model_validate(metadata["config"]), card
    except ValidationError:
        raise MicrotomoError(f"{path}: is no weights file of microtomo: it has no card that fits") from None


def load_network(path: str | Path, kind: type[Kind], name: str | None = None) -> Kind:
    """The network of a weights file, ready to use; ``name`` is the architecture that it must have, if any.

    Raises MicrotomoError as :func:`read_card`, for a network of another kind or architecture, and where tensors are
    missing, foreign, of another shape or not finite.
    """
    path = Path(path)
    stat = path.stat() if path.is_file() else None
    network = _load(path, None if stat is None else (stat.st_mtime_ns, stat.st_size))
    other = network.config.architecture
    if not isinstance(network, kind):
        task = architecture(other).task
        raise MicrotomoError(f"{path}: these weights are of {other}, a network for task {task}: give those of another")
    if name not in (None, other):
        raise MicrotomoError(f"{path}: these weights are of {other}: use --method {other}")
    return network


@lru_cache(maxsize=4)
def _load(path: Path, version: object) -> Network:
    config, _ = read_card(path)
    with torch.device("meta"):
        wanted = build_network(config).state_dict()
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
    network = build_network(config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def start_from(network: Network, path: str | Path) -> None:
    """Take over the tensors of the trunk that have the same name and shape in a weights file, to go on training.

    A file of another library (safetensors, or tensors saved by torch) serves a network or an ``encoder`` in it that
    bears its names: kernels for three colours become their sum where there is one channel. Raises MicrotomoError as
    :func:`load_network`, and where nothing fits.
    """
    own = network.trunk.state_dict()
    foreign = _foreign(Path(path))
    if foreign is None:
        given: dict[str, torch.Tensor] = load_network(path, Network).trunk.state_dict()
    else:
        named = {name if name in own else f"encoder.{name}": value for name, value in foreign.items()}
        given = {name: _in_grey(value, own[name]) for name, value in named.items() if name in own}
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise MicrotomoError(f"{path}: none of its tensors fits {network.config.architecture}: leave start out")
    network.trunk.load_state_dict(fitting, strict=False)


def _foreign(path: Path) -> dict[str, torch.Tensor] | None:
    """Tensors by name of a file that another library wrote, None for one of this package or none that is known."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                own = _KEY in (file.metadata() or {})
                return None if own else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        given = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # the reader raises whatever it stumbles over: the file is then none that is known
        return None
    if not isinstance(given, dict):
        return None
    return {str(name): value for name, value in given.items() if isinstance(value, torch.Tensor)}


def _in_grey(value: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A kernel for three colours as one for a grey image that is all of them, where that is wanted."""
    colours = value.ndim == wanted.ndim == 4 and (value.shape[1], wanted.shape[1]) == (3, 1)
    return value.sum(1, keepdim=True) if colours else value
