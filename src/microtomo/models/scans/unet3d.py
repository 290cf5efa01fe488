"""UNet-to-3d: the U-Net from a scan to voxels."""

from __future__ import annotations

from torch import Tensor, nn

from microtomo.models.blocks import UCore
from microtomo.models.scans.conv3 import REPORT
from microtomo.models.scans.network import Body, NetworkConfig, network
from microtomo.registry import Published


@network(
    "unet3d",
    citation=REPORT + '"UNet-to-3d"',
    published=Published("UNet-to-3d", {"test set": 0.620, "experimental structure": 0.684}),
)
class UNet3d(Body):
    """The U-Net whose output channels are voxels: for every pixel a class for each of its depths."""

    volumetric = True

    def __init__(self, into: int, out: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width or 64
        dropout = 0.5 if config.dropout is None else config.dropout
        self.core = UCore(into, width, config.levels or 4, dropout, width // 2, config.widest)
        self.last = nn.Conv2d(width, out * config.depth, 1)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.core(x))
        return y.reshape(y.shape[0], self.out, -1, *y.shape[2:])
