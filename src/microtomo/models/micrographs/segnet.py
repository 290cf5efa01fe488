"""SegNet for thin layers in cross-section.

Source: Badrinarayanan, Kendall & Cipolla, IEEE Trans. Pattern Anal. Mach. Intell. 39 (2017) 2481.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import convolution, pad_to_multiple
from microtomo.models.micrographs.layer_unet import Channels, LayerConfig
from microtomo.models.micrographs.network import SegmenterNetwork, segmenter
from microtomo.registry import Published

Depth = Annotated[int, Field(ge=1, le=8)]


class SegNetConfig(LayerConfig):
    """``sizes``: channels by level; ``depths``: convolutions by level. The published ones are those of VGG16."""

    sizes: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=7)] = (64, 128, 256, 512, 512)
    depths: tuple[Depth, ...] = (2, 2, 3, 3, 3)

    @model_validator(mode="after")
    def _as_many(self) -> SegNetConfig:
        if len(self.sizes) != len(self.depths):
            raise ValueError(f"sizes {self.sizes} and depths {self.depths}: give one of each for every level")
        return self


@segmenter(
    "layer-segnet",
    task="layer",
    config=SegNetConfig,
    citation="Badrinarayanan, Kendall & Cipolla, IEEE Trans. Pattern Anal. Mach. Intell. 39 (2017) 2481",
    published=Published("SegNet", {"five folds": 0.83}),
    symmetries=4,
)
class SegNet(SegmenterNetwork):
    """VGG16's convolutions down and mirrored up; values go back to where the pooling of their level took them from."""

    def __init__(self, config: SegNetConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.sizes
        levels = list(zip((1, *sizes), sizes, config.depths, strict=False))
        self.down = nn.ModuleList(_stack([into, *[out] * depth]) for into, out, depth in levels)
        self.up = nn.ModuleList(
            _stack([out] * depth + [sizes[0] if level == 0 else into])
            for level, (into, out, depth) in enumerate(levels)
        )
        self.width = sizes[0]
        self.last: nn.Module = nn.Conv2d(self.width, config.classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images of any size, padded by their border pixels where pooling needs it."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2 ** len(self.down))
        taken = []
        for block in self.down:
            x, places = functional.max_pool2d(block(x), 2, return_indices=True)
            taken.append(places)
        for level in reversed(range(len(self.up))):
            x = self.up[level](functional.max_unpool2d(x, taken[level], (2, 2)))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]


def _stack(sizes: Sequence[int]) -> nn.Sequential:
    """Convolutions from each size to the next."""
    return nn.Sequential(*(convolution(into, out) for into, out in pairwise(sizes)))
