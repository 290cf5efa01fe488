"""DeepLabV3+ for thin layers in cross-section.

Source: Chen, Zhu, Papandreou, Schroff & Adam, ECCV 2018; its encoder: He, Zhang, Ren & Sun, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import convolution, pad_to_multiple
from microtomo.models.micrographs.layer_unet import Channels, LayerConfig
from microtomo.models.micrographs.network import SegmenterNetwork, segmenter
from microtomo.registry import Published

Blocks = Annotated[int, Field(ge=1, le=40)]


class DeepLabConfig(LayerConfig):
    """Everything that decides the network's shape; the published one is on ResNet-50.

    ``width``: channels of the stem; ``blocks`` of each of the four stages, the last atrous instead of strided;
    ``pyramid``: channels of the pyramid and the decoder, ``rates`` its dilations; ``low``: channels that the decoder
    takes of the first stage.
    """

    width: Channels = 64
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = (3, 4, 6, 3)
    pyramid: Channels = 256
    low: Channels = 48
    rates: tuple[Blocks, ...] = (6, 12, 18)


class Bottleneck(nn.Module):
    """Residual block of a 1 x 1, a 3 x 3 and a 1 x 1 convolution (He et al., CVPR 2016), four times as wide outside."""

    def __init__(self, into: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            convolution(into, width, 1),
            convolution(width, width, 3, stride, dilation),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.skip = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, 4 width, y / stride, x / stride)."""
        return functional.relu(self.body(x) + self.skip(x))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., ECCV 2018): one point, atrous separable and one global branch."""

    def __init__(self, into: int, out: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.point = convolution(into, out, 1)
        self.atrous = nn.ModuleList(separable(into, out, rate) for rate in rates)
        # no norm: over one value an image there is none
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(into, out, 1), nn.ReLU(inplace=True))
        self.join = nn.Sequential(convolution(out * (2 + len(rates)), out, 1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, out, y, x)."""
        whole = self.whole(x).expand(-1, -1, *x.shape[-2:])
        joined: Tensor = self.join(torch.cat([self.point(x), *(branch(x) for branch in self.atrous), whole], 1))
        return joined


def separable(into: int, out: int, dilation: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 across channels."""
    return nn.Sequential(convolution(into, into, 3, dilation=dilation, groups=into), convolution(into, out, 1))


@segmenter(
    "layer-deeplab",
    task="layer",
    config=DeepLabConfig,
    citation="Chen, Zhu, Papandreou, Schroff & Adam, ECCV 2018",
    published=Published("DeepLab", {"five folds": 0.89}),
    symmetries=4,
)
class DeepLab(SegmenterNetwork):
    """DeepLabV3+: a residual encoder of stride 16, an atrous pyramid, edges from the encoder's first stage."""

    def __init__(self, config: DeepLabConfig) -> None:
        super().__init__()
        self.config = config
        width, pyramid = config.width, config.pyramid
        self.stem = nn.Sequential(convolution(1, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        stages, into = [], width
        for k, count in enumerate(config.blocks):
            stride, dilation = (1, 2, 2, 1)[k], 2 if k == 3 else 1
            stage = [
                Bottleneck(into if b == 0 else 4 * width * 2**k, width * 2**k, stride if b == 0 else 1, dilation)
                for b in range(count)
            ]
            stages.append(nn.Sequential(*stage))
            into = 4 * width * 2**k
        self.stages = nn.ModuleList(stages)
        self.pyramid = Pyramid(into, pyramid, config.rates)
        self.low = convolution(4 * width, config.low, 1)
        self.decode = nn.Sequential(separable(pyramid + config.low, pyramid), separable(pyramid, pyramid))
        self.last = nn.Conv2d(pyramid, config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images of any size, padded by their border pixels to a multiple of 16."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 16)
        whole = x.shape[-2:]
        x = self.stages[0](self.stem(x))
        low = self.low(x)
        for stage in list(self.stages)[1:]:
            x = stage(x)
        x = functional.interpolate(self.pyramid(x), size=low.shape[-2:], mode="bilinear", align_corners=False)
        x = self.last(self.decode(torch.cat([x, low], 1)))
        logits = functional.interpolate(x, size=whole, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
