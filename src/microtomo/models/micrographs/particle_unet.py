"""The particle U-Net: for every pixel, whether a particle is there, how deep inside, and how large it is.

Four outputs: logit of the share of the pixel that particles cover; logit of the depth (1 at the centre of a particle,
0 on its outline), whose valleys part particles that touch; logarithm to base 2 of the diameter [px] of the particle
the pixel belongs to; logarithm of that number's deviation. A regression of sizes with their deviation follows Nix &
Weigend (ICNN 1994); the U-shape Ronneberger, Fischer & Brox (MICCAI 2015).
"""

from __future__ import annotations

import copy
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from microtomo.models.architectures import Network, Shape, add_architecture
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import register
from microtomo.tem.particles.maps import particle_maps
from microtomo.tem.segmentation import Segmentation

NAME, TASK = "particle-unet", "particle"


class ParticleConfig(Shape):
    """What decides the network's shape: channels of each level, the resolution halved from one to the next."""

    architecture: str = NAME
    channels: tuple[int, ...] = Field(default=(16, 32, 64, 96, 128), min_length=2, max_length=7)


class ParticleUNet(Network):
    """Images (n, 1, y, x) of any offset and scale, particles bright, to the four outputs (n, 4, y, x)."""

    def __init__(self, config: ParticleConfig | None = None) -> None:
        super().__init__()
        self.config = config or ParticleConfig()
        sizes = self.config.channels
        self.down = nn.ModuleList(
            nn.Sequential(*_conv(into, out), *_conv(out, out)) for into, out in pairwise([2, *sizes])
        )
        self.rise = nn.ModuleList(nn.Conv2d(below, size, 1) for size, below in pairwise(sizes))
        self.up = nn.ModuleList(nn.Sequential(*_conv(2 * size, size)) for size in sizes[:-1])
        self.last = nn.Conv2d(sizes[0], 4, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def forward(self, image: Tensor) -> Tensor:
        """The outputs for images whose sides are multiples of :attr:`step`."""
        x = views(image).contiguous(memory_format=torch.channels_last)
        skips = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for k in reversed(range(len(self.rise))):
            x = functional.interpolate(self.rise[k](x), scale_factor=2.0, mode="nearest")
            x = self.up[k](torch.cat([x, skips[k]], 1))
        output: Tensor = self.last(x)
        return output

    @property
    def step(self) -> int:
        """Sides of the input must be multiples of this."""
        return int(2 ** len(self.rise))


LOCAL_PX = 33
"""Pixels along the side of the square that an image is compared with its surroundings in."""

FLOOR = 0.05
"""Local deviation, in the image's own deviations, that is taken for nothing."""


def views(image: Tensor) -> Tensor:
    """The image in two ways (n, 2, y, x): as it is, and with local mean 0 and about local deviation 1, so that faint
    particles on dark parts of a thick support count as much as those on bright ones."""
    rest = image - _local_mean(image)
    # a floor keeps empty parts from being blown up to noise alone
    return torch.cat([image, rest / (_local_mean(rest * rest) + FLOOR**2).sqrt()], 1)


def _local_mean(image: Tensor) -> Tensor:
    pad = LOCAL_PX // 2
    rows = functional.avg_pool2d(functional.pad(image, (0, 0, pad, pad), mode="reflect"), (LOCAL_PX, 1), 1)
    return functional.avg_pool2d(functional.pad(rows, (pad, pad, 0, 0), mode="reflect"), (1, LOCAL_PX), 1)


def _conv(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


add_architecture(NAME, TASK, ParticleConfig, ParticleUNet)


@register(
    NAME,
    task=TASK,
    citation="Ronneberger, Fischer & Brox, MICCAI 2015; sizes with deviations: Nix & Weigend, ICNN 1994",
    weights=lambda _: shipped_weights(NAME),
)
def particle_unet(
    image: np.ndarray,
    *,
    bright: bool | None = None,
    zoom: float | None = None,
    weights: str | Path | None = None,
) -> Segmentation:
    """U-Net for coverage, depth and size of particles: bright or dark, at whatever magnification, without settings.

    ``bright``: whether particles are brighter than their support, else what finds more. ``zoom``: power of two by which
    the image is enlarged first, else what suits the sizes found. ``weights``: those of a training run, else those that
    come with the package.
    """
    network = load_network(shipped_weights(NAME) if weights is None else weights, ParticleUNet, NAME)
    maps = particle_maps(_ready(network), image, bright=bright, zoom=zoom)
    cover = np.clip(maps.at_own_size(maps.cover), 0, 1)
    options = {"bright": maps.bright, "zoom": maps.zoom, **({} if weights is None else {"weights": str(weights)})}
    return Segmentation.of_mask(cover > 0.5, cover, NAME, options, details=maps)


@lru_cache(maxsize=2)
def _ready(network: ParticleUNet) -> ParticleUNet:
    return prepared(network)


def prepared(network: ParticleUNet) -> ParticleUNet:
    """A copy that only answers: norms folded into convolutions; half the digits where the processor multiplies them
    faster."""
    ready = copy.deepcopy(network).eval()
    for block in [*ready.down, *ready.up]:
        assert isinstance(block, nn.Sequential)
        for k in range(0, len(block), 3):
            conv, norm = block[k], block[k + 1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            block[k], block[k + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ready.to(torch.bfloat16) if _short_is_fast() else ready


def _short_is_fast() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported())
