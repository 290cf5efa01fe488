"""A network for micrographs: configuration, probabilities of its classes, and how it becomes a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.inverse.tiling import joined, tiles
from microtomo.models.architectures import Network, Shape, add_architecture, architecture
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import Published, get_task, register
from microtomo.tem.segmentation import Segmentation, preparation_of

SYMMETRIES = (1, 2, 4, 8)
"""How many symmetries of the square a probability may be averaged over."""


class SegmenterConfig(Shape):
    """What decides a network's shape, its settings by architecture in a class derived from this.

    ``classes``: those of the architecture's task where none are given.
    """

    classes: Annotated[int, Field(ge=2, le=255)] = 2

    @classmethod
    def of_task(cls, task: str) -> dict[str, Any]:
        """As many classes as the task has."""
        return {"classes": len(get_task(task).classes)}


class SegmenterNetwork(Network):
    """What an architecture file derives from: normalised images (n, 1, y, x) in, logits (n, c, y, x) out.

    Built from its configuration; takes images of any size.
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


def run(network: SegmenterNetwork, image: np.ndarray, symmetries: int, options: dict[str, Any]) -> Segmentation:
    """Segment an image (y, x) of counts: mean probabilities over symmetries of the square, and their deviation."""
    if symmetries not in SYMMETRIES:
        raise MicrotomoError(f"symmetries {symmetries}: choose 1, 2, 4 or 8")
    name = network.config.architecture
    normalised = torch.from_numpy(preparation_of(get_task(architecture(name).task)).normalise(image))
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
    symmetries: int = 8,
    refine: Callable[[np.ndarray, Segmentation], Segmentation] | None = None,
    **own: Any,
) -> Callable[[Built], Built]:
    """Decorator that makes a :class:`SegmenterNetwork` an architecture and a method of the registry under ``name``.

    One class may have several names, each with its ``own`` settings. Its docstring's first line is the summary, unless
    one is given. ``symmetries``: over how many the probabilities are averaged where none are given. ``refine`` is what
    the image and its segmentation by the weights that come with the package go through last.
    """

    usual = symmetries

    def add(build: Built) -> Built:
        add_architecture(name, task, config, build, **own)

        def method(image: np.ndarray, *, symmetries: int = usual, weights: str | Path | None = None) -> Segmentation:
            network = load_network(shipped_weights(name) if weights is None else weights, SegmenterNetwork, name)
            if weights is not None:
                return run(network, image, symmetries, {"weights": str(weights)})
            segmentation = run(network, image, symmetries, {})
            return segmentation if refine is None else refine(image, segmentation)

        method.__doc__ = f"""{summary or (build.__doc__ or "").strip().splitlines()[0]}

        ``symmetries``: 1, 2, 4 or 8 of the square's, over which the probabilities are averaged; their deviation over
        them is the uncertainty. ``weights``: those of a training run, else those that come with the package.
        """
        register(name, task=task, citation=citation, published=published, weights=lambda _: shipped_weights(name))(
            method
        )
        return build

    return add
