"""Building blocks that the networks share: convolutions, a U-shaped core, and the layer that the scan enters by."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.inverse.misfit import Grid
from microtomo.physics.forward import ForwardModel

_COMPONENTS = 8  # of spectra that a network is given
_TYPICAL_NOISE = 0.02  # relative: components and noise of this level together have unit deviation


def conv_norm(into: int, out: int) -> nn.Sequential:
    """3 x 3 convolution with replicated borders, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(into, out, 3, padding=1, padding_mode="replicate", bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


def double_conv(into: int, out: int, middle: int | None = None) -> nn.Sequential:
    """Two :func:`conv_norm` in a row, with ``middle`` channels between them (``out`` when not given)."""
    middle = out if middle is None else middle
    return nn.Sequential(conv_norm(into, middle), conv_norm(middle, out))


def convolution(
    into: int, out: int, size: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution with zeros beyond the border that keeps the image's size (but for ``stride``), batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(into, out, size, stride, dilation * (size // 2), dilation, groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class UCore(nn.Module):
    """Encoder and decoder of a U-Net (Ronneberger et al. 2015): (n, c, y, x) to (n, width, y, x).

    ``levels`` poolings, ``width`` channels at full size and twice as many after each, ``widest`` at most; the
    up-convolutions keep their channels (report, "UNet-to-2d"). ``dropout`` acts before each block of the way up.
    Sizes that are no multiple of 2^levels are padded by their border pixels and cut back.
    """

    def __init__(
        self,
        into: int,
        width: int,
        levels: int,
        dropout: float = 0.0,
        first: int | None = None,
        widest: int | None = None,
    ) -> None:
        super().__init__()
        sizes = [min(width * 2**k, widest or width * 2**k) for k in range(levels + 1)]
        self.down = nn.ModuleList(
            double_conv(into if k == 0 else sizes[k - 1], size, first if k == 0 else None)
            for k, size in enumerate(sizes)
        )
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(size, size, 3, stride=2, padding=1, output_padding=1) for size in sizes[1:]
        )
        self.up = nn.ModuleList(double_conv(below + size, size) for size, below in pairwise(sizes))
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** len(self.rise))
        skips = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for k in reversed(range(len(self.rise))):
            x = self.up[k](self.dropout(torch.cat([self.rise[k](x), skips[k]], 1)))
        return x[..., :height, :width]


def pad_to_multiple(x: Tensor, step: int) -> Tensor:
    """(n, c, y, x) with its last rows and columns repeated until both sides are multiples of ``step``."""
    rows, columns = -x.shape[-2] % step, -x.shape[-1] % step
    return functional.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x


class SignalInput(nn.Module):
    """The scan as it is: one channel an energy (as published)."""

    def __init__(self, forward: ForwardModel) -> None:
        super().__init__()
        self.channels = len(forward.energies_kev)

    def forward(self, signal: Tensor, noise: Tensor) -> Tensor:
        return signal


class ComponentsInput(nn.Module):
    """The scan as the physics sees it: the leading principal components of the log-signal, and the noise level.

    The components come from the noise-free signals of all thicknesses of the stack, each scaled so that signal and
    2 % noise together have unit deviation; training may refine them. Signal (n, e, y, x) and noise (n,) give
    (n, components + 1, y, x).
    """

    def __init__(self, forward: ForwardModel) -> None:
        super().__init__()
        energies = len(forward.energies_kev)
        count = min(_COMPONENTS, energies)
        self.channels = count + 1
        self.project = nn.Conv2d(energies, count, 1)
        if self.project.weight.is_meta:
            return
        logs = _noise_free_logs(forward)
        middle = logs.mean(1, keepdim=True)
        u, s, _ = torch.linalg.svd(logs - middle, full_matrices=False)
        variance = s[:count, None] ** 2 / logs.shape[1]
        rows = u[:, :count].T / (variance + _TYPICAL_NOISE**2).sqrt()
        with torch.no_grad():
            self.project.weight.copy_(rows[..., None, None])
            assert self.project.bias is not None
            self.project.bias.copy_(-(rows @ middle)[:, 0])

    def forward(self, signal: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(signal.device.type, enabled=False):
            components = self.project(signal.float().clamp_min(1e-3).log())
        level = (noise.to(components).clamp(1e-3, 1) / _TYPICAL_NOISE).log()
        return torch.cat([components, level[:, None, None, None].expand(-1, 1, *components.shape[-2:])], 1)


def _noise_free_logs(forward: ForwardModel) -> Tensor:
    """Logarithms (e, p) of the noise-free signals of a grid of all thicknesses."""
    steps = {1: 400, 2: 40, 3: 12, 4: 7}[len(forward.stack.layers)]
    axes = [torch.linspace(0, nm, steps, dtype=torch.float64) for nm in forward.stack.max_nm]
    return Grid(axes, forward).signal.log()


INPUTS: dict[str, type[SignalInput] | type[ComponentsInput]] = {"signal": SignalInput, "components": ComponentsInput}
