"""Weights of networks on disk: safetensors with a card; read as data, never run."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from microtomo.errors import MicrotomoError, nearest
from microtomo.models.network import ARCHITECTURES, NetworkConfig, SemNetwork
from microtomo.output import whole_file

FOLDER = Path(__file__).parent.parent / "weights"
_KEY = "microtomo"


def shipped_weights(architecture: str, contrast: str) -> Path:
    """Path of the weights that come with the package. Raises MicrotomoError where there are none."""
    path = FOLDER / f"{architecture}-{contrast}.safetensors"
    if path.is_file():
        return path
    there = sorted(p.stem.rsplit("-", 1)[1] for p in FOLDER.glob(f"{architecture}-*.safetensors"))
    others = sorted(p.stem.rsplit("-", 1)[0] for p in FOLDER.glob(f"*-{contrast}.safetensors"))
    raise MicrotomoError(
        f"{architecture} has no weights for {contrast} contrast ({'only for ' + ', '.join(there) if there else 'none'}"
        f" come with the package): use {' or '.join(others) or 'map'}, or train them with `microtomo train "
        f"{architecture} --set network.contrast={contrast}`"
    )


def save_weights(path: str | Path, network: SemNetwork, card: dict[str, Any]) -> None:
    """Write weights (kernels as float16, all else float32) with the network's configuration and a card."""
    tensors = {
        name: (value.half() if value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    told = {"config": network.config.model_dump(mode="json"), "card": card}
    with whole_file(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(told, sort_keys=True)}))


def read_card(path: str | Path) -> tuple[NetworkConfig, dict[str, Any]]:
    """Configuration and card of a weights file, without its tensors.

    Raises MicrotomoError for a file that is missing, truncated, no safetensors or not of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise MicrotomoError(f"{path}: no such file: give the weights.safetensors of a training run")
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})[_KEY])
        config, card = NetworkConfig.model_validate(told["config"]), dict(told["card"])
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise MicrotomoError(f"{path}: is no complete safetensors file ({error}): copy it again") from None
    except (KeyError, TypeError, ValueError, ValidationError):
        raise MicrotomoError(f"{path}: is no weights file of microtomo: it has no card that fits") from None
    if config.architecture not in ARCHITECTURES:
        raise MicrotomoError(
            f"{path}: is for network {config.architecture!r}, which this version does not know; "
            f"{nearest(config.architecture, list(ARCHITECTURES))}"
        )
    return config, card


def load_network(path: str | Path) -> SemNetwork:
    """The network of a weights file, ready to use. Raises MicrotomoError as :func:`read_card`, and where tensors are
    missing, foreign, of another shape or not finite."""
    path = Path(path)
    stat = path.stat() if path.is_file() else None
    return _load(path, None if stat is None else (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4)
def _load(path: Path, version: object) -> SemNetwork:
    config, _ = read_card(path)
    with torch.device("meta"):
        wanted = SemNetwork(config).state_dict()
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
    network = SemNetwork(config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def start_from(network: SemNetwork, path: str | Path) -> None:
    """Take over the body's tensors that have the same name and shape in a weights file, to go on training from them.

    The input layer stays what physics makes it for the contrast. Raises MicrotomoError as :func:`load_network`, and
    where nothing fits.
    """
    given, own = load_network(path).body.state_dict(), network.body.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise MicrotomoError(f"{path}: none of its tensors fits {network.config.architecture}: leave start out")
    network.body.load_state_dict(fitting, strict=False)
