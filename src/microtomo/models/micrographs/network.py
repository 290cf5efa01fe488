"""A network for micrographs: configuration, probabilities of its classes, and how it becomes a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from pydantic import Field, ModelWrapValidatorHandler, model_validator
from torch import Tensor, nn

from microtomo.errors import MicrotomoError
from microtomo.inverse.tiling import joined, tiles
from microtomo.models.scans.network import Shape
from microtomo.models.weights import FOLDER, Family, network_of
from microtomo.registry import Published, get_method, get_task, list_methods, register
from microtomo.tem.segmentation import Segmentation, preparation_of

SYMMETRIES = (1, 2, 4, 8)
"""How many symmetries of the square a probability may be averaged over."""


class SegmenterConfig(Shape):
    """What decides a network's shape, its settings by architecture in a class derived from this.

    Given as a table, it becomes the configuration of its ``architecture``, which fills in what is left open.
    ``classes``: those of the architecture's task.
    """

    classes: Annotated[int, Field(ge=2, le=255)] = 2

    @model_validator(mode="wrap")
    @classmethod
    def _of_architecture(cls, given: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        known = ARCHITECTURES.get(str(given.get("architecture"))) if isinstance(given, dict) else None
        if known is None:
            return handler(given)
        if not issubclass(cls, known.config):
            return known.config.model_validate(given)
        return handler({"classes": len(get_task(known.task).classes), **known.own, **given})


class SegmenterNetwork(nn.Module):
    """What an architecture file derives from: normalised images (n, 1, y, x) in, logits (n, c, y, x) out.

    Built from its configuration, which it keeps as ``config``; takes images of any size.
    """

    config: SegmenterConfig

    def probabilities(self, image: Tensor) -> Tensor:
        """Probability of each class (n, c, y, x) of normalised images (n, 1, y, x); large ones in overlapping tiles."""
        parts = []
        for rows, columns, keep_rows, keep_columns in tiles(*image.shape[-2:]):
            logits = self(image[..., rows, columns])[..., keep_rows, keep_columns].float()
            if logits.shape[1] == 2:
                second = (logits[:, 1] - logits[:, 0]).sigmoid()
                probabilities = torch.stack([1 - second, second], 1)
            else:
                probabilities = logits.softmax(1)
            parts.append((probabilities, rows.start + keep_rows.start))
        return joined(parts)

    @property
    def parameters_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


@dataclass(frozen=True)
class Architecture:
    """A network by name: its task, its class, that of its configuration, and its own choice of what one leaves open."""

    task: str
    build: Callable[[Any], SegmenterNetwork]
    config: type[SegmenterConfig]
    own: Mapping[str, Any]


ARCHITECTURES: dict[str, Architecture] = {}


def build_segmenter(config: SegmenterConfig) -> SegmenterNetwork:
    """The network of a configuration, its weights random."""
    return ARCHITECTURES[config.architecture].build(config)


SEGMENTERS = Family(SegmenterConfig, build_segmenter, ARCHITECTURES.keys())


def shipped(name: str) -> Path:
    """Path of the weights that come with the package. Raises MicrotomoError where there are none."""
    path = FOLDER / f"{name}.safetensors"
    if path.is_file():
        return path
    methods = list_methods(task=ARCHITECTURES[name].task)
    others = [m.name for m in methods if not m.learned or (FOLDER / f"{m.name}.safetensors").is_file()]
    use = f"use {' or '.join(others)}, or " if others else ""
    raise MicrotomoError(
        f"{name} has no weights in the package: {use}train it with `microtomo train {name} --data FOLDER` and give "
        "--set weights=FILE"
    )


def run(network: SegmenterNetwork, image: np.ndarray, symmetries: int, options: dict[str, Any]) -> Segmentation:
    """Segment an image (y, x) of counts: mean probabilities over symmetries of the square, and their deviation."""
    if symmetries not in SYMMETRIES:
        raise MicrotomoError(f"symmetries {symmetries}: choose 1, 2, 4 or 8")
    name = network.config.architecture
    normalised = torch.from_numpy(preparation_of(get_method(name)).normalise(image))
    device = next(network.parameters()).device
    with torch.inference_mode():
        views = torch.stack(list(_views(network, normalised.to(device), symmetries))).cpu()
    mean = views.mean(0)
    mean[0] = 1 - mean[1:].sum(0)
    labels = mean.argmax(0)
    spread = None
    if symmetries > 1:
        spread = views.std(0, correction=0).gather(0, labels[None])[0].numpy()
    options = {"symmetries": symmetries, **options}
    return Segmentation(labels.byte().numpy(), mean.numpy(), name, options, spread)


def _views(network: SegmenterNetwork, image: Tensor, symmetries: int) -> Iterator[Tensor]:
    """Probabilities (c, y, x) of an image (y, x) seen by each symmetry, turned back."""
    for k in range(symmetries):
        # as many flips as possible before quarter turns, which change the shape of what is not square
        flips = [axis for axis in (-2, -1) if k >> (axis + 2) & 1]
        turned = image.flip(flips) if flips else image
        turned = turned.T if k >> 2 else turned
        probabilities = network.probabilities(turned[None, None])[0]
        probabilities = probabilities.mT if k >> 2 else probabilities
        yield probabilities.flip(flips) if flips else probabilities


Built = TypeVar("Built", bound=Callable[[Any], SegmenterNetwork])


def segmenter(
    name: str,
    *,
    task: str,
    config: type[SegmenterConfig],
    citation: str,
    summary: str | None = None,
    published: Published | None = None,
    **own: Any,
) -> Callable[[Built], Built]:
    """Decorator that makes a :class:`SegmenterNetwork` an architecture and a method of the registry under ``name``.

    One class may have several names, each with its ``own`` settings. Its docstring's first line is the summary, unless
    one is given.
    """

    def add(build: Built) -> Built:
        ARCHITECTURES[name] = Architecture(task, build, config, own)

        def method(image: np.ndarray, *, symmetries: int = 8, weights: str | Path | None = None) -> Segmentation:
            network = network_of(shipped(name) if weights is None else weights, SEGMENTERS)
            if network.config.architecture != name:
                other = network.config.architecture
                raise MicrotomoError(f"{weights}: these weights are of {other}: use --method {other}")
            return run(network, image, symmetries, {} if weights is None else {"weights": str(weights)})

        method.__doc__ = f"""{summary or (build.__doc__ or "").strip().splitlines()[0]}

        ``symmetries``: 1, 2, 4 or 8 of the square's, over which the probabilities are averaged; their deviation over
        them is the uncertainty. ``weights``: those of a training run, else those that come with the package.
        """
        register(name, task=task, citation=citation, published=published, weights=lambda forward: shipped(name))(method)
        return build

    return add
