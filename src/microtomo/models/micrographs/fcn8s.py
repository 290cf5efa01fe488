"""FCN8s on VGG-16, as published and with dilated convolutions.

Sources: Long, Shelhamer & Darrell, CVPR 2015; Simonyan & Zisserman, ICLR 2015; dilation in place of the last two
poolings: Yu & Koltun, ICLR 2016.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import pad_to_multiple
from microtomo.models.micrographs.network import SegmenterConfig, SegmenterNetwork, segmenter

LONG = "Long, Shelhamer & Darrell, CVPR 2015; Simonyan & Zisserman, ICLR 2015"

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of the five stages, each of which ends in a pooling."""


class FCN8sConfig(SegmenterConfig):
    """``width``: channels over those of VGG-16; ``bridge``: channels of the two convolutions that stand for VGG's full
    connections; ``dilated``: the last two poolings are left out, and what follows is dilated by 2 and 4 instead."""

    width: Annotated[float, Field(gt=0, le=1)] = 1.0
    bridge: Annotated[int, Field(ge=8, le=4096)] = 512
    dilated: bool = False


@segmenter(
    "particle-fcn8s",
    task="particle",
    config=FCN8sConfig,
    citation=LONG,
    summary="FCN8s on VGG-16: adds up answers at three scales; may start from weights of ImageNet.",
    symmetries=4,
)
@segmenter(
    "particle-fcn8s-dilated",
    task="particle",
    config=FCN8sConfig,
    citation=f"{LONG}; Yu & Koltun, ICLR 2016",
    summary="FCN8s on VGG-16 with dilated convolutions in place of the last two poolings.",
    symmetries=4,
    dilated=True,
)
class FCN8s(SegmenterNetwork):
    """VGG-16's convolutions, and class scores after its third, fourth and last stage, enlarged and added.

    ``features`` bears the names of torchvision's VGG-16, so that training may start from a file of its weights
    (``start``): the grey image is given three times, as its three colours. Zeros lie beyond the border; score layers
    start at 0 but for the last, as published, so that a coarse answer comes first.
    """

    def __init__(self, config: FCN8sConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        into = 3
        for stage, (channels, count) in enumerate(VGG16):
            out, dilation = max(4, round(channels * config.width)), 2 if config.dilated and stage == 4 else 1
            for _ in range(count):
                layers += [nn.Conv2d(into, out, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
                into = out
            whole = config.dilated and stage >= 3
            layers.append(nn.Identity() if whole else nn.MaxPool2d(2, 2))
            self.ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        dilation = 4 if config.dilated else 1
        self.bridge = nn.Sequential(
            nn.Conv2d(into, config.bridge, 7, padding=3 * dilation, dilation=dilation),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.5),
            nn.Conv2d(config.bridge, config.bridge, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.5),
        )
        third, fourth = (max(4, round(VGG16[k][0] * config.width)) for k in (2, 3))
        self.scores = nn.ModuleList(nn.Conv2d(n, config.classes, 1) for n in (third, fourth, config.bridge))
        for score in list(self.scores)[:2]:
            assert isinstance(score, nn.Conv2d)
            nn.init.zeros_(score.weight)
        for module in (*self.features, *self.bridge):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, c, y, x) of images (n, 1, y, x) of any size, padded by their border pixels to a multiple of 32."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 32).expand(-1, 3, -1, -1)
        whole = x.shape[-2:]
        stages, start = [], 0
        for end in self.ends:
            x = self.features[start:end](x)
            stages.append(x)
            start = end
        answer = self.scores[2](self.bridge(x))
        for score, stage in ((self.scores[1], stages[3]), (self.scores[0], stages[2])):
            answer = _enlarged(answer, stage.shape[-2:]) + score(stage)
        return _enlarged(answer, whole)[..., :height, :width]


def _enlarged(x: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False) if x.shape[-2:] != size else x
