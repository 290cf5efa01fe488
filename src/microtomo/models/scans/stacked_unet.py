"""Stacked UNet-to-2d: three U-Nets, each mending the one before."""

from __future__ import annotations

from torch import Tensor, nn

from microtomo.models.blocks import UCore
from microtomo.models.scans.conv3 import REPORT
from microtomo.models.scans.network import Body, NetworkConfig, network
from microtomo.registry import Published

_STACKS = 3  # U-Nets, one after the other
_TRUNK = 31  # channels between them: as many as the report's energies


@network(
    "stacked-unet",
    citation=REPORT + '"Stacked UNet-to-2d"; Newell et al., ECCV 2016',
    published=Published("stacked UNet-to-2d", {"test set": 0.909, "experimental structure": 0.541}),
)
class StackedUNet(Body):
    """Three U-Nets in a row, each supervised: the output of one goes, mapped back, into the next one's input."""

    def __init__(self, into: int, out: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width or 64
        dropout = 0.5 if config.dropout is None else config.dropout
        trunk = into if config.input == "signal" else _TRUNK
        self.enter = nn.Identity() if trunk == into else nn.Conv2d(into, trunk, 1)
        self.cores = nn.ModuleList(
            UCore(trunk, width, config.levels or 3, dropout, widest=config.widest) for _ in range(_STACKS)
        )
        self.mapped = nn.ModuleList(nn.Conv2d(width, trunk, 1) for _ in range(_STACKS))
        self.found = nn.ModuleList(nn.Conv2d(trunk, out, 1) for _ in range(_STACKS))
        self.back = nn.ModuleList(nn.Conv2d(out, trunk, 1) for _ in range(_STACKS - 1))

    def supervised(self, x: Tensor) -> list[Tensor]:
        """The output of each of the three, (n, out, y, x)."""
        outputs: list[Tensor] = []
        x = self.enter(x)
        for k in range(_STACKS):
            y = self.mapped[k](self.cores[k](x))
            outputs.append(self.found[k](y))
            if k < _STACKS - 1:
                x = x + y + self.back[k](outputs[-1])
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.supervised(x)[-1]
