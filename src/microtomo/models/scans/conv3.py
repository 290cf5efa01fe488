"""3Conv-to-2d: three convolutions and an output, no pooling."""

from __future__ import annotations

from torch import Tensor, nn

from microtomo.models.blocks import conv_norm
from microtomo.models.scans.network import Body, NetworkConfig, network
from microtomo.registry import Published

REPORT = "SEM microtomography report (2021), "


@network(
    "conv3",
    citation=REPORT + '"3Conv-to-2d"',
    published=Published("3Conv-to-2d", {"test set": 0.633, "experimental structure": 0.336}),
)
class Conv3(Body):
    """Four 3 x 3 convolutions over the scan, under 100 000 parameters: sees 9 x 9 pixels, the quickest network."""

    def __init__(self, into: int, out: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width or 64
        self.features = nn.Sequential(conv_norm(into, width), conv_norm(width, width), conv_norm(width, width // 2))
        self.last = nn.Conv2d(width // 2, out, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.features(x))
        return y
