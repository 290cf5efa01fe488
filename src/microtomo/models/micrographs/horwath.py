"""The networks of the paper on what segmentation networks see: two U-Nets and their variants, hourglass, shallow nets.

Source: Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108. Images (n, 1, y, x) in, logits (n, 2, y, x)
of background and particle out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.models.micrographs.network import SegmenterConfig, SegmenterNetwork, segmenter

Activation = Literal["relu", "leaky"]
Blur = Literal[0, 1, 2]
Kernel = Annotated[int, Field(ge=1, le=31)]


class HorwathConfig(SegmenterConfig):
    """Everything that decides the shape of one of the paper's networks; what is not given is the architecture's own.

    ``features``: channels on the way down; ``rising``: channels of each step up, before the skip is joined to it;
    ``last``: channels of the convolution before the two classes, 0 for none; ``convs``: convolutions a step up (the
    second keeps the channels); ``norm``: batch norm after each activation; ``blur``: deviation [px] of the Gaussian
    that images pass first; ``kernel``: side of the convolutions; ``filters``: of a shallow net.
    """

    classes: Literal[2] = 2
    kind: Literal["unet", "hourglass", "shallow"] = "unet"
    features: tuple[int, ...] = (8, 16, 32, 64)
    rising: tuple[int, ...] = (32, 32, 16, 16)
    last: Annotated[int, Field(ge=0, le=512)] = 8
    convs: Literal[1, 2] = 1
    norm: bool = False
    activation: Activation = "relu"
    blur: Blur = 0
    kernel: Kernel = 3
    filters: Annotated[int, Field(ge=1, le=1024)] = 1

    @model_validator(mode="after")
    def _as_many_up(self) -> HorwathConfig:
        if len(self.features) != len(self.rising):
            raise ValueError("features and rising: give as many steps up as down")
        return self


def _variants() -> dict[str, dict[str, Any]]:
    """The fifteen of Table 1: five changes of the 1024 U-Net, each on images blurred by 0, 1 and 2 pixels."""
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "leaky": {"activation": "leaky"},
        "twoconv": {"convs": 2, "activation": "leaky"},
        "norm": {"norm": True, "activation": "leaky"},
        "twoconv-norm": {"convs": 2, "norm": True, "activation": "leaky"},
    }
    return {
        f"horwath-1024-{name}" + (f"-blur{blur}" if blur else ""): {**change, "blur": blur}
        for name, change in changes.items()
        for blur in (0, 1, 2)
    }


HORWATH: dict[str, dict[str, Any]] = {
    "horwath-512": {"features": (8, 16, 32), "rising": (16, 8, 8), "last": 0},
    **_variants(),
    "horwath-1024-norm-kernel7": {"norm": True, "activation": "leaky", "kernel": 7},
    "horwath-hourglass": {"kind": "hourglass", "features": (8, 16, 32), "rising": (32, 16, 8)},
    "horwath-filter-9": {"kind": "shallow", "kernel": 9},
    "horwath-filter-7": {"kind": "shallow", "kernel": 7},
    "horwath-filters-32": {"kind": "shallow", "kernel": 9, "filters": 32},
}
"""Architectures by name, and what differs in each from the defaults."""


class Blurred(SegmenterNetwork):
    """What the networks share: the image blurred first, the activation, the configuration."""

    config: HorwathConfig

    def __init__(self, config: HorwathConfig) -> None:
        super().__init__()
        self.config = config

    def blurred(self, image: Tensor) -> Tensor:
        """The image through the Gaussian of the configuration, mirrored at its border."""
        if not self.config.blur:
            return image
        reach = 4 * self.config.blur
        place = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
        line = torch.exp(-0.5 * (place / self.config.blur) ** 2)
        line = line / line.sum()
        wide = functional.pad(image, (reach,) * 4, mode="reflect")
        return functional.conv2d(functional.conv2d(wide, line[None, None, :, None]), line[None, None, None])

    def activated(self, x: Tensor) -> Tensor:
        """ReLU, or leaky ReLU of slope 0.01."""
        return functional.leaky_relu(x) if self.config.activation == "leaky" else functional.relu(x)


class HorwathUNet(Blurred):
    """The U-Net of the paper: a convolution a step down, a transposed one a step up, the skip taken before pooling.

    Sides that are no multiple of the pooling are padded by their border pixels and cut back.
    """

    def __init__(self, config: HorwathConfig) -> None:
        super().__init__(config)
        k, pad = config.kernel, config.kernel // 2
        into = [1, *config.features]
        self.down = nn.ModuleList(nn.Conv2d(a, b, k, padding=pad) for a, b in pairwise(into))
        below, self.rise, self.second = config.features[-1], nn.ModuleList(), nn.ModuleList()
        for up, skip in zip(config.rising, reversed(config.features), strict=True):
            self.rise.append(nn.ConvTranspose2d(below, up, k, stride=2, padding=pad))
            below = up + skip
            self.second.append(nn.Conv2d(below, below, k, padding=pad) if config.convs == 2 else nn.Identity())
        self.join = nn.Conv2d(below, config.last or 2, k, padding=pad)
        self.classes = nn.Conv2d(config.last, 2, 1) if config.last else nn.Identity()
        norms = [*config.features, *config.rising]
        joined = [u + s for u, s in zip(config.rising, reversed(config.features), strict=True)]
        norms += joined if config.convs == 2 else []
        norms += [config.last] if config.last else []
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) if config.norm else nn.Identity() for n in norms)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, 2, y, x) of images (n, 1, y, x) of any size."""
        norms = iter(self.norms)
        high, wide = image.shape[-2:]
        step = 2 ** len(self.rise)
        x, skips = functional.pad(self.blurred(image), (0, -wide % step, 0, -high % step), mode="replicate"), []
        for conv in self.down:
            x = next(norms)(self.activated(conv(x)))
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        steps = list(zip(self.rise, self.second, reversed(skips), strict=True))
        # the norms of the steps up come first, then those of the second convolutions
        up_norms = [next(norms) for _ in steps]
        second_norms = [next(norms) for _ in steps] if self.config.convs == 2 else []
        for k, (rise, second, skip) in enumerate(steps):
            x = up_norms[k](self.activated(rise(x, output_size=skip.shape[-2:])))
            x = torch.cat([x, skip], 1)
            if second_norms:
                x = second_norms[k](self.activated(second(x)))
        x = self.join(x)
        logits: Tensor = self.classes(next(norms)(self.activated(x))) if self.config.last else x
        return logits[..., :high, :wide]


class Hourglass(Blurred):
    """Encoder and decoder without skips: kernels of 20, 10, then 3; pooling by 2 and nearest up-sampling, three times.

    Kernels of even sides shift by half a pixel, so that the images are padded by one pixel less after than before.
    """

    def __init__(self, config: HorwathConfig) -> None:
        super().__init__(config)
        into = [1, *config.features]
        kernels = (20, 10, *(3 for _ in config.features[2:]))
        self.down = nn.ModuleList(
            nn.Sequential(nn.ZeroPad2d((k // 2, (k - 1) // 2, k // 2, (k - 1) // 2)), nn.Conv2d(a, b, k))
            for a, b, k in zip(into[:-1], into[1:], kernels, strict=True)
        )
        out = [config.features[-1], *config.rising]
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(out))
        self.join, self.classes = nn.Conv2d(out[-1], 2, 3, padding=1), nn.Conv2d(2, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, 2, y, x) of images (n, 1, y, x) of any size."""
        high, wide = image.shape[-2:]
        step = 2 ** len(self.up)
        x = functional.pad(self.blurred(image), (0, -wide % step, 0, -high % step), mode="replicate")
        for conv in self.down:
            x = self.activated(functional.max_pool2d(conv(x), 2))
        for conv in self.up:
            x = self.activated(functional.interpolate(conv(x), scale_factor=2, mode="nearest"))
        logits: Tensor = self.classes(self.join(x))
        return logits[..., :high, :wide]


class Shallow(Blurred):
    """One layer of filters: a single filter whose value is the particle's logit, or many joined by a 1 x 1
    convolution."""

    def __init__(self, config: HorwathConfig) -> None:
        super().__init__(config)
        if config.kernel % 2 == 0:
            raise MicrotomoError(f"kernel {config.kernel}: a shallow net needs an odd side")
        self.filters = nn.Conv2d(1, config.filters, config.kernel, padding=config.kernel // 2)
        self.join = nn.Conv2d(config.filters, 2, 1) if config.filters > 1 else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, 2, y, x) of images (n, 1, y, x) of any size."""
        x = self.filters(self.blurred(image))
        if self.config.filters > 1:
            logits: Tensor = self.join(self.activated(x))
            return logits
        return torch.cat([torch.zeros_like(x), x], 1)


CITATION = "Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108"

_KINDS: dict[str, tuple[type[Blurred], str]] = {
    "unet": (HorwathUNet, "A U-Net of the paper on what segmentation networks see, or a variant in its Table 1."),
    "hourglass": (Hourglass, "The paper's encoder and decoder without skips, which fails inside large particles."),
    "shallow": (Shallow, "The paper's net of one layer of filters, whose kernels can be read."),
}

for _name, _own in HORWATH.items():
    _build, _summary = _KINDS[_own.get("kind", "unet")]
    segmenter(_name, task="particle", config=HorwathConfig, citation=CITATION, summary=_summary, **_own)(_build)
