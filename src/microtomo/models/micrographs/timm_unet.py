"""Any encoder of timm (PyTorch Image Models, Wightman 2019) under the decoder of a U-Net."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError, nearest
from microtomo.models.blocks import convolution, pad_to_multiple
from microtomo.models.micrographs.network import SegmenterConfig, SegmenterNetwork, segmenter


class EncoderConfig(SegmenterConfig):
    """``encoder``: name of a network of timm that gives features at several scales; ``widths``: channels of the
    decoder, from the coarsest step to the finest, whose last is the image's own size."""

    encoder: str = "resnet18"
    widths: Annotated[tuple[Annotated[int, Field(ge=2, le=1024)], ...], Field(min_length=2, max_length=8)] = (
        *(256, 128, 64),
        *(32, 16),
    )


@segmenter(
    "particle-timm-unet",
    task="particle",
    config=EncoderConfig,
    citation="Ronneberger, Fischer & Brox, MICCAI 2015; Wightman, PyTorch Image Models (2019)",
    symmetries=4,
)
class EncoderUNet(SegmenterNetwork):
    """A U-Net whose way down is any encoder of timm: set network.encoder to its name (extra `encoders`).

    ``encoder`` bears timm's names, so that training may start from a file of its weights (``start``); random else. The
    grey image is its one channel.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config.encoder)
        channels = list(self.encoder.feature_info.channels())
        self.reductions = [int(r) for r in self.encoder.feature_info.reduction()]
        if len(config.widths) < len(channels):
            raise MicrotomoError(f"widths {config.widths}: {config.encoder} needs {len(channels)} or more of them")
        skips = [*reversed(channels[:-1]), *[1] * (len(config.widths) - len(channels) + 1)]
        below = pairwise([channels[-1], *config.widths])
        self.up = nn.ModuleList(
            nn.Sequential(convolution(into + skip, out), convolution(out, out))
            for (into, out), skip in zip(below, skips, strict=True)
        )
        self.last = nn.Conv2d(config.widths[-1], config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, c, y, x) of images (n, 1, y, x) of any size, padded by their border pixels where needed."""
        height, width = image.shape[-2:]
        image = pad_to_multiple(image, max(self.reductions))
        *finer, x = self.encoder(image)
        skips = [*reversed(finer), *[image] * (len(self.up) - len(finer))]
        for block, skip in zip(self.up, skips, strict=True):
            x = functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = block(torch.cat([x, skip], 1))
        logits: Tensor = self.last(x)
        return logits[..., :height, :width]


def _encoder(name: str) -> Any:
    try:
        timm = import_module("timm")
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch is a RuntimeError
        reason = f" ({error})" if isinstance(error, RuntimeError) else ""
        raise MicrotomoError(
            f"encoders need timm, which cannot be imported{reason}: install it with `pip install microtomo[encoders]`"
        ) from None
    if name not in timm.list_models():
        raise MicrotomoError(f"timm has no encoder {name!r}; {nearest(name, timm.list_models())}")
    try:
        return timm.create_model(name, pretrained=False, features_only=True, in_chans=1)
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise MicrotomoError(f"encoder {name}: gives no features at several scales ({error}): take another") from None
