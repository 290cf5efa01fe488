"""UNet-to-2d: the U-Net from a scan to thickness."""

from __future__ import annotations

from torch import Tensor, nn

from microtomo.models.blocks import UCore
from microtomo.models.scans.conv3 import REPORT
from microtomo.models.scans.network import Body, NetworkConfig, network
from microtomo.registry import Published


@network(
    "unet",
    citation=REPORT + '"UNet-to-2d"; Ronneberger et al., MICCAI 2015',
    published=Published("UNet-to-2d", {"test set": 0.953, "experimental structure": 0.523}),
)
class UNet(Body):
    """U-Net from the scan to a thickness map a layer: sees far, keeps edges; the best network here."""

    def __init__(self, into: int, out: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width or 64
        dropout = 0.5 if config.dropout is None else config.dropout
        self.core = UCore(into, width, config.levels or 4, dropout, width // 2, config.widest)
        self.last = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.core(x))
        return y
