"""NASNet-A for thin layers in cross-section: its cells to the first output of stride 16, and a decoder of four blocks.

Source: Zoph, Vasudevan, Shlens & Le, CVPR 2018, fig. 4 and appendix A (the cells, "Large" of 168 filters and 6 cells a
stage); the head-overcoat paper, section 2.1 (where it is cut, the decoder, random initialisation).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from microtomo.models.blocks import pad_to_multiple
from microtomo.models.micrographs.layer_unet import Channels, LayerConfig
from microtomo.models.micrographs.network import SegmenterNetwork, segmenter
from microtomo.registry import Published

STRIDE = 16
"""Pixels of the image that one of the encoder's output stands for."""


class NASNetConfig(LayerConfig):
    """Everything that decides the network's shape; the published one is NASNet-A (6 @ 4032), "Large".

    ``stem``: channels of the first convolution; ``filters`` of a cell of the first stage; ``cells``: normal cells
    before the reduction to stride 16; ``decoder``: channels of its four blocks, which the paper leaves open.
    ``checkpointing``: in training a cell's inner values are computed again where they are needed, for a fraction of
    the memory and a third more time; the statistics of its batch norms then move twice a step.
    """

    stem: Channels = 96
    filters: Annotated[int, Field(ge=4, le=1024, multiple_of=4)] = 168
    cells: Annotated[int, Field(ge=1, le=18)] = 6
    decoder: tuple[Channels, Channels, Channels, Channels] = (256, 128, 64, 32)
    checkpointing: bool = False


class Separable(nn.Sequential):
    """Twice ReLU, a depthwise convolution and one across channels, batch norm; the first may have a stride."""

    def __init__(self, into: int, out: int, size: int, stride: int = 1) -> None:
        super().__init__(*_separable(into, out, size, stride), *_separable(out, out, size, 1))


class Halved(nn.Module):
    """An earlier map at half its size: every second pixel, and every second beside those, each by a 1 x 1 convolution
    to half the channels."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.even, self.odd = (nn.Conv2d(into, out // 2, 1, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x.relu(), (0, x.shape[-1] % 2 + 1, 0, x.shape[-2] % 2 + 1))
        rows, columns = (n - 1 for n in x.shape[-2:])
        even, odd = x[..., :rows:2, :columns:2], x[..., 1 : rows + 1 : 2, 1 : columns + 1 : 2]
        halved: Tensor = self.norm(torch.cat([self.even(even), self.odd(odd)], 1))
        return halved


class NormalCell(nn.Module):
    """The normal cell of NASNet-A: maps (n, 6 filters, y, x) of the last output and the one ``before`` it."""

    def __init__(self, into: int, before: int, filters: int, halves: bool = False) -> None:
        super().__init__()
        self.last = _squeeze(into, filters)
        self.before = Halved(before, filters) if halves else _squeeze(before, filters)
        self.last_3, self.before_3, self.both_3 = (Separable(filters, filters, 3) for _ in range(3))
        self.last_5, self.before_5 = (Separable(filters, filters, 5) for _ in range(2))

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        h, p = self.last(x), self.before(before)
        around = _mean(p)
        sums = (
            self.last_3(h) + h,
            self.before_3(p) + self.last_5(h),
            _mean(h) + p,
            around + around,
            self.before_5(p) + self.both_3(p),
        )
        return torch.cat([p, *sums], 1)


class ReductionCell(nn.Module):
    """The reduction cell of NASNet-A: maps (n, 4 filters, y / 2, x / 2).

    ``halves``: the output before the last is twice as large; ``before`` None: there is none, the input stands for it.
    """

    def __init__(self, into: int, before: int | None, filters: int, halves: bool = False) -> None:
        super().__init__()
        self.last = _squeeze(into, filters)
        self.before: nn.Module = nn.Identity()
        if before is not None:
            self.before = Halved(before, filters) if halves else _squeeze(before, filters)
        wide = into if before is None else filters
        self.last_5, self.first_3 = Separable(filters, filters, 5, 2), Separable(filters, filters, 3)
        self.before_7, self.again_7 = (Separable(wide, filters, 7, 2) for _ in range(2))
        self.before_5 = Separable(wide, filters, 5, 2)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        h, p = self.last(x), self.before(before)
        first = self.before_7(p) + self.last_5(h)
        largest = functional.max_pool2d(h, 3, 2, 1)
        second = largest + self.again_7(p)
        third = _mean(h, 2) + self.before_5(p)
        return torch.cat([second, third, _mean(first) + second, largest + self.first_3(first)], 1)


class Encoder(nn.Module):
    """NASNet-A down to its first output of stride 16 (n, ``channels``, y / 16, x / 16)."""

    def __init__(self, config: NASNetConfig) -> None:
        super().__init__()
        n, self.checkpointing = config.filters, config.checkpointing
        self.first = nn.Sequential(nn.Conv2d(1, config.stem, 3, 2, 1, bias=False), nn.BatchNorm2d(config.stem))
        self.stem = ReductionCell(config.stem, None, n // 4)
        cells: list[nn.Module] = [ReductionCell(n, config.stem, n // 2, halves=True)]
        before, into = n, 2 * n
        for k in range(config.cells):
            cells.append(NormalCell(into, before, n, halves=k == 0))
            before, into = into, 6 * n
        cells.append(ReductionCell(into, before, 2 * n))
        self.cells = nn.ModuleList(cells)
        self.channels = 8 * n

    def forward(self, image: Tensor) -> Tensor:
        before = self.first(image)
        x = self._run(self.stem, before, before)
        for cell in self.cells:
            before, x = x, self._run(cell, x, before)
        return x.relu()

    def _run(self, cell: nn.Module, x: Tensor, before: Tensor) -> Tensor:
        if self.checkpointing and self.training:
            again: Tensor = checkpoint(cell, x, before, use_reentrant=False)
            return again
        out: Tensor = cell(x, before)
        return out


@segmenter(
    "layer-nasnet",
    task="layer",
    config=NASNetConfig,
    citation="Zoph, Vasudevan, Shlens & Le, CVPR 2018",
    published=Published("NASNet-Large", {"five folds": 0.92}),
    symmetries=4,
)
class NASNet(SegmenterNetwork):
    """The head-overcoat paper's network: NASNet-Large to stride 16, then four blocks of up-sampling and convolution."""

    def __init__(self, config: NASNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        widths = (self.encoder.channels, *config.decoder)
        self.decoder = nn.Sequential(*(_up(into, out) for into, out in pairwise(widths)))
        self.width = widths[-1]
        self.last: nn.Module = nn.Conv2d(self.width, config.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images of any size, padded by their border pixels to a multiple of 16."""
        height, width = image.shape[-2:]
        logits: Tensor = self.last(self.decoder(self.encoder(pad_to_multiple(image, STRIDE))))
        return logits[..., :height, :width]


def _up(into: int, out: int) -> nn.Sequential:
    """A block of the decoder."""
    convolution = nn.Conv2d(into, out, 3, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution, nn.ReLU(inplace=True), nn.BatchNorm2d(out))


def _separable(into: int, out: int, size: int, stride: int) -> list[nn.Module]:
    across = nn.Conv2d(into, out, 1, bias=False)
    return [nn.ReLU(), nn.Conv2d(into, into, size, stride, size // 2, 1, into, bias=False), across, nn.BatchNorm2d(out)]


def _squeeze(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out))


def _mean(x: Tensor, stride: int = 1) -> Tensor:
    """Mean of the 3 x 3 pixels around, of those within the map."""
    return functional.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
