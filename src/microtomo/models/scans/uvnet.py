"""Hybrid UVNet: a 2D encoder over the scan, a 3D decoder into the volume."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.blocks import conv_norm, double_conv, pad_to_multiple
from microtomo.models.scans.conv3 import REPORT
from microtomo.models.scans.network import Body, NetworkConfig, network
from microtomo.registry import Published

_POOLINGS = 3  # of the encoder; the decoder's first volume is as often halved in depth
_SOUND = 80  # input channels up to which the gradient is right, see _Conv3d


@network(
    "uvnet",
    citation=REPORT + '"Hybrid UVNet"',
    published=Published("hybrid UVNet", {"test set": 0.938, "experimental structure": 0.734}),
)
class UVNet(Body):
    """2D encoder, 3D decoder: the skips of the encoder are folded so that their channels become depth.

    At the published size (width 64, 16 voxels): 31-64-128-256, 512 at the bottom folded to (256, 2), and up through
    80, 20 and 6 channels with skips (64, 4), (16, 8), (4, 16). Other depths fold into as many layers as they need
    and are cut; channels that do not divide are filled with zeros.
    """

    volumetric = True
    with_empty = False

    def __init__(self, into: int, out: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width or 64
        self.depth = config.depth
        self.bottom = -(-config.depth // 2**_POOLINGS)  # depths at the bottom
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip([into, *sizes[:2]], sizes, strict=True))
        self.across = conv_norm(sizes[2], 8 * width)
        folded = -(-8 * width // self.bottom)
        up = [max(4, width * 5 // 4), max(4, width * 5 // 16), max(4, width * 3 // 32)]
        self.rise, self.merge = nn.ModuleList(), nn.ModuleList()
        for k, size in enumerate(up):
            before = folded if k == 0 else up[k - 1]
            risen = before if k == 0 else (up[1] * 2 if k == 1 else up[2])
            skip = -(-sizes[2 - k] // (self.bottom * 2 ** (k + 1)))
            groups = 2 if k == 0 and before % 2 == 0 else 1
            self.rise.append(nn.ConvTranspose3d(before, risen, 2, stride=2, groups=groups))
            self.merge.append(_double_conv3d(risen + skip, size))
        self.last = nn.Conv3d(up[-1], out, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2**_POOLINGS)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        y = fold(self.across(x), self.bottom)
        for k in range(_POOLINGS):
            y = self.rise[k](y)
            y = self.merge[k](torch.cat([y, fold(skips[-1 - k], y.shape[2])], 1))
        z: Tensor = self.last(y)
        return z[:, :, : self.depth, :height, :width]


class _Conv3d(nn.Conv3d):
    """On CPUs the bfloat16 gradient of a 3D convolution reads memory that nobody wrote once it has some 128 input
    channels (torch 2.13, AMX; 80 are fine, 144 are not): those are computed in float32."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or self.in_channels <= _SOUND:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def fold(x: Tensor, depth: int) -> Tensor:
    """Channels into depth: (n, c, y, x) to (n, c / depth, depth, y, x), rounded up with channels of zeros."""
    missing = -x.shape[1] % depth
    if missing:
        x = functional.pad(x, (0, 0, 0, 0, 0, missing))
    return x.reshape(x.shape[0], -1, depth, *x.shape[2:])


def _double_conv3d(into: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a in (into, out):
        layers += [_Conv3d(a, out, 3, padding=1, bias=False), nn.InstanceNorm3d(out, affine=True)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
