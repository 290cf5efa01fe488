"""What training minimises, for each kind of head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from microtomo.errors import MicrotomoError
from microtomo.models.scans.columns import column_index, column_posterior
from microtomo.models.scans.heads import LevelsHead, ThicknessHead, VoxelHead
from microtomo.models.scans.network import SemNetwork
from microtomo.voxels import thickness_to_volume

_SPREAD = 0.01  # weight of the deviation's own loss beside the thickness's


def loss_of(
    network: SemNetwork, outputs: Sequence[Tensor], thickness: Tensor, layer_weights: Sequence[float] | None = None
) -> Tensor:
    """Mean loss of all supervised outputs (report, "Stacked UNet": mean over the stacks) against (n, l, y, x) [nm].

    Thickness: mean squared error in shares of the range, weighted by layer (C_Al / C_Au of the report). Levels: cross-
    entropy. Voxels: squared error against one-hot voxels as published, or cross-entropy of whole columns.
    """
    head = network.head
    layers = len(network.config.stack.layers)
    if layer_weights is not None and len(layer_weights) != layers:
        raise MicrotomoError(f"{len(layer_weights)} layer weights for {layers} layers: give one each")
    weight = torch.ones(layers) if layer_weights is None else torch.tensor(layer_weights) * layers / sum(layer_weights)
    weight = weight.to(thickness)
    losses = []
    for output in outputs:
        if isinstance(head, ThicknessHead):
            losses.append(_thickness(head, output, thickness, weight))
        elif isinstance(head, LevelsHead):
            losses.append(_levels(head, output, thickness, weight))
        elif network.config.head == "published":
            losses.append(_voxels(head, output, thickness))
        else:
            losses.append(_columns(head, output, thickness, network))
    return torch.stack(losses).mean()


def _thickness(head: ThicknessHead, output: Tensor, thickness: Tensor, weight: Tensor) -> Tensor:
    mean, spread = head.moments(output)
    square = (mean - thickness / head.range_nm[:, None, None]) ** 2
    likelihood = square.detach() / (2 * spread**2) + spread.log()
    return ((square + _SPREAD * likelihood) * weight[:, None, None]).mean()


def _levels(head: LevelsHead, output: Tensor, thickness: Tensor, weight: Tensor) -> Tensor:
    index = head.index(thickness)
    # one row a pixel: levels side by side in memory are several times as fast as levels far apart
    parts = torch.split(output.movedim(1, -1).flatten(0, -2).float(), head.counts, 1)
    each = [functional.cross_entropy(logits, index[:, k].flatten()) for k, logits in enumerate(parts)]
    return (torch.stack(each) * weight).mean()


def _voxels(head: VoxelHead, output: Tensor, thickness: Tensor) -> Tensor:
    truth = thickness_to_volume(thickness, head.depth, head.voxel_nm).long()
    hot = functional.one_hot(truth, head.channels + (not head.with_empty)).movedim(-1, 1).float()
    if head.with_empty:
        return functional.mse_loss(output.float().softmax(1), hot)
    return functional.mse_loss(output.float(), hot[:, 1:])


def _columns(head: VoxelHead, output: Tensor, thickness: Tensor, network: SemNetwork) -> Tensor:
    stack = network.config.stack
    columns, logs = column_posterior(head.logits(output), stack, head.voxel_nm)
    return functional.nll_loss(logs, column_index(thickness, columns, head.depth, head.voxel_nm))
