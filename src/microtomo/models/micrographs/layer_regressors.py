"""Networks that give a layer's mean thickness and its standard deviation at once, from a mask or from an image.

Source: the head-overcoat paper, section 2.3 (RCNN, which takes the mask) and table 2 (SegNet and NASNet with their
softmax replaced by a regression, which take the image). That the deviation is predicted too is the paper's wish.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Network, Shape, add_architecture
from microtomo.models.micrographs.layer_unet import Channels
from microtomo.models.micrographs.nasnet import NASNet, NASNetConfig
from microtomo.models.micrographs.segnet import SegNet, SegNetConfig


class RegressorConfig(Shape):
    """What regressors have in common: ``input`` is what they take."""

    input: ClassVar[Literal["mask", "image"]]


class RCNNConfig(RegressorConfig):
    """``side``: pixels of the square that a mask is brought to; ``sizes``: channels of the two blocks; ``dense``:
    features of the two dense layers; ``dropout`` after each block. The paper gives none of these numbers."""

    input = "mask"
    side: Annotated[int, Field(ge=8, le=512, multiple_of=4)] = 64
    sizes: tuple[Channels, Channels] = (16, 32)
    dense: tuple[Channels, Channels] = (128, 32)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class SegNetRegressorConfig(RegressorConfig):
    """``body``: the SegNet whose maps are regressed."""

    input = "image"
    body: SegNetConfig = SegNetConfig(architecture="layer-segnet")

    @field_validator("body", mode="before")
    @classmethod
    def _segnet(cls, given: Any) -> Any:
        return {"architecture": "layer-segnet", **given} if isinstance(given, dict) else given


class NASNetRegressorConfig(RegressorConfig):
    """``body``: the NASNet whose maps are regressed."""

    input = "image"
    body: NASNetConfig = NASNetConfig(architecture="layer-nasnet")

    @field_validator("body", mode="before")
    @classmethod
    def _nasnet(cls, given: Any) -> Any:
        return {"architecture": "layer-nasnet", **given} if isinstance(given, dict) else given


class LayerRegressor(Network):
    """What regressors share: images or masks (n, 1, y, x) in; (n, 2) out: mean and standard deviation of the orthogonal
    thickness, as shares of the side."""

    config: RegressorConfig


class RCNN(LayerRegressor):
    """Two blocks of three convolutions and dropout, two dense layers, a linear output; takes masks of one size.

    The last convolution of each block has stride 2, which the paper leaves open, so that the flattened features stay
    few.
    """

    config: RCNNConfig

    def __init__(self, config: RCNNConfig) -> None:
        super().__init__()
        self.config = config
        (first, second), dense = config.sizes, config.dense
        self.blocks = nn.Sequential(_block(1, first, config.dropout), _block(first, second, config.dropout))
        flat = second * (config.side // 4) ** 2
        self.dense = nn.Sequential(
            nn.Linear(flat, dense[0]), nn.ReLU(inplace=True), nn.Linear(dense[0], dense[1]), nn.ReLU(inplace=True),
            nn.Linear(dense[1], 2),
        )  # fmt: skip

    def forward(self, mask: Tensor) -> Tensor:
        """Mean and standard deviation (n, 2), shares of the side; masks of another size are averaged to the own."""
        side = self.config.side
        if mask.shape[-2] != mask.shape[-1] or mask.shape[-1] < side:
            raise MicrotomoError(f"masks are square, of {side} pixels or more; got {tuple(mask.shape)}: use squared")
        small = functional.adaptive_avg_pool2d(mask, side)
        out: Tensor = self.dense(self.blocks(small).flatten(1))
        return out


class ImageRegressor(LayerRegressor):
    """The maps before a segmenter's softmax: their mean and largest value an image, and one linear layer."""

    def __init__(self, config: RegressorConfig, body: SegNet | NASNet) -> None:
        super().__init__()
        self.config, self.body = config, body
        body.last = nn.Identity()
        self.last = nn.Linear(2 * body.width, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Mean and standard deviation (n, 2), shares of the side."""
        maps = self.body(image)
        out: Tensor = self.last(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
        return out


def _segnet(config: SegNetRegressorConfig) -> ImageRegressor:
    return ImageRegressor(config, SegNet(config.body))


def _nasnet(config: NASNetRegressorConfig) -> ImageRegressor:
    return ImageRegressor(config, NASNet(config.body))


add_architecture("layer-rcnn", "layer", RCNNConfig, RCNN)
add_architecture("layer-segnet-regressor", "layer", SegNetRegressorConfig, _segnet)
add_architecture("layer-nasnet-regressor", "layer", NASNetRegressorConfig, _nasnet)


def squared(image: np.ndarray) -> np.ndarray:
    """The central square of a mask or image (y, x), float32."""
    short = min(image.shape)
    top, left = ((n - short) // 2 for n in image.shape)
    return np.ascontiguousarray(image[top : top + short, left : left + short], dtype=np.float32)


def regress(network: LayerRegressor, image: np.ndarray) -> tuple[float, float]:
    """Mean thickness and its standard deviation [px] of a mask (y, x) of shares 0..1, or of a normalised image."""
    square = squared(image)
    with torch.inference_mode():
        mean, deviation = network(torch.from_numpy(square)[None, None])[0].tolist()
    return mean * len(square), deviation * len(square)


def _block(into: int, out: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, stride in ((into, 1), (out, 1), (out, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Dropout(dropout))
