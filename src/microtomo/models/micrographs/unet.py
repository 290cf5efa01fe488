"""U-Nets for micrographs: contaminants on graphene, a probability for every pixel.

Source: Ronneberger, Fischer & Brox, MICCAI 2015; Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.inverse.tiling import joined, tiles
from microtomo.models.architectures import Network, Shape, add_architecture
from microtomo.models.blocks import pad_to_multiple
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import register
from microtomo.tem.illumination import normalise
from microtomo.tem.segmentation import Segmentation

SADRE = "Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804"
RONNEBERGER = "Ronneberger, Fischer & Brox, MICCAI 2015"


class SegmenterConfig(Shape):
    """Everything that decides a segmenter's shape; what is not given is the architecture's own.

    ``classes`` of its labels 0, 1, ...
    ``blocks``: double convolutions, of which all but one lie pairwise on the way down and up; ``features``: channels
    of the first, twice as many after each pooling; ``norm``: what follows a convolution.
    """

    classes: Annotated[int, Field(ge=2, le=255)] = 2
    blocks: Annotated[int, Field(ge=3, le=13)] = 7
    features: Annotated[int, Field(ge=2, le=256)] = 32
    norm: Literal["none", "batch"] = "none"

    @model_validator(mode="after")
    def _odd(self) -> SegmenterConfig:
        if self.blocks % 2 == 0:
            raise ValueError(f"{self.blocks} blocks: give an odd number, one at the bottom and as many down as up")
        return self


class MicrographUNet(Network):
    """A U-Net: normalised image (n, 1, y, x) in, a logit for each class (n, c, y, x) out."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.features * 2**k for k in range(config.blocks // 2 + 1)]
        norm = config.norm == "batch"
        self.down = nn.ModuleList(_block(into, out, norm) for into, out in pairwise([1, *sizes]))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, size, 2, stride=2) for size, below in pairwise(sizes))
        self.up = nn.ModuleList(_block(2 * size, size, norm) for size in sizes[:-1])
        self.last = nn.Conv2d(config.features, config.classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images of any size, padded by their border pixels where pooling needs it."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2 ** len(self.rise)).contiguous(memory_format=torch.channels_last)
        skips = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for k in reversed(range(len(self.rise))):
            x = self.up[k](torch.cat([self.rise[k](x), skips[k]], 1))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]

    def probability(self, image: Tensor) -> Tensor:
        """Probability of contaminant (n, y, x) of normalised images (n, 1, y, x); large ones in overlapping tiles."""
        parts = []
        for rows, columns, keep_rows, keep_columns in tiles(*image.shape[-2:]):
            logits = self(image[..., rows, columns])[..., keep_rows, keep_columns].float()
            parts.append(((logits[:, 1] - logits[:, 0]).sigmoid(), rows.start + keep_rows.start))
        return joined(parts)


def _block(into: int, out: int, norm: bool) -> nn.Sequential:
    """Twice a 3 x 3 convolution and ReLU, zeros beyond the border, batch norm between them where asked for."""
    layers: list[nn.Module] = []
    for channels in (into, out):
        layers.append(nn.Conv2d(channels, out, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(out)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def run(network: MicrographUNet, image: np.ndarray, symmetries: int, options: dict[str, Any]) -> Segmentation:
    """Segment an image (y, x) of counts: mean probability over symmetries of the square, and its deviation."""
    if symmetries not in (1, 2, 4, 8):
        raise MicrotomoError(f"symmetries {symmetries}: choose 1, 2, 4 or 8")
    seen = torch.from_numpy(normalise(image))
    device = next(network.parameters()).device
    with torch.inference_mode():
        found = torch.stack([back for back in _views(network, seen.to(device), symmetries)]).cpu()
    mean = found.mean(0)
    spread = None if symmetries == 1 else found.std(0, correction=0).numpy()
    options = {"symmetries": symmetries, **options}
    return Segmentation((mean > 0.5).numpy(), mean.numpy(), network.config.architecture, options, spread)


def _views(network: MicrographUNet, image: Tensor, symmetries: int) -> Iterator[Tensor]:
    for k in range(symmetries):
        # as many flips as possible before quarter turns, which change the shape of what is not square
        turned = image.flip([axis for axis in (0, 1) if k >> axis & 1]) if k & 3 else image
        turned = turned.T if k >> 2 else turned
        found = network.probability(turned[None, None])[0]
        found = found.T if k >> 2 else found
        yield found.flip([axis for axis in (0, 1) if k >> axis & 1]) if k & 3 else found


def _register(name: str, summary: str, citation: str, **own: Any) -> None:
    def method(image: np.ndarray, *, symmetries: int = 8, weights: str | Path | None = None) -> Segmentation:
        network = load_network(shipped_weights(name) if weights is None else weights, MicrographUNet, name)
        return run(network, image, symmetries, {} if weights is None else {"weights": str(weights)})

    method.__doc__ = f"""{summary}

    ``symmetries``: 1, 2, 4 or 8 of the square's, over which the probability is averaged; its deviation over them is
    the uncertainty. ``weights``: those of a training run, else those that come with the package.
    """
    register(name, task="tem", citation=citation, weights=lambda forward: shipped_weights(name))(method)
    add_architecture(name, "tem", SegmenterConfig, MicrographUNet, **own)


_register(
    "graphene-unet",
    "U-Net of half the published features with batch norm: the best here, and quick.",
    SADRE,
    features=16,
    norm="batch",
)
_register("graphene-unet-7", "The published U-Net of 7 blocks and 32 features.", SADRE)
_register(
    "graphene-unet-9",
    "The original U-Net of 9 blocks and 64 features.",
    f"{RONNEBERGER}; {SADRE}",
    blocks=9,
    features=64,
)
