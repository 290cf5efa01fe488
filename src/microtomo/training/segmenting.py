"""Training of networks for micrographs: cross-entropy and Dice, scored by the pooled Jaccard index."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from microtomo.models.micrographs.network import SEGMENTERS, SegmenterNetwork, build_segmenter, shipped
from microtomo.models.weights import network_of, take_over
from microtomo.training.module import RunModule
from microtomo.training.pairs import SHIPPED, SegmenterRun


class SegmenterTraining(RunModule):
    """A network for micrographs. Validation scores the averaged weights by the Jaccard index of all pixels."""

    network: SegmenterNetwork

    def __init__(self, config: SegmenterRun, steps: int) -> None:
        super().__init__(config, steps)
        self.config = config
        self.network = build_segmenter(config.network)
        self.counts = torch.zeros(2, dtype=torch.float64)  # no buffer: those are averaged

    def start_from(self, path: Path) -> None:
        name = self.config.network.architecture
        complaint = f"{path}: none of its tensors fits {name}"
        path = shipped(name) if path == Path(SHIPPED) else path
        take_over(self.network, network_of(path, SEGMENTERS), complaint)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch."""
        image, mask = batch
        loss = segmenter_loss(self.network(image), mask, self.config.dice)
        self.log("loss", loss.detach(), prog_bar=True, on_step=False, on_epoch=True, batch_size=len(image))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.counts = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Pixels in both masks and in either, and the loss, of whole images."""
        image, mask = batch
        logits = self.network(image).float()
        found, true = logits[:, 1] > logits[:, 0], mask > 0
        self.counts += torch.stack([(found & true).sum(), (found | true).sum()])
        loss = segmenter_loss(logits, mask, self.config.dice)
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(image), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        both, either = self.all_gather(self.counts).reshape(-1, 2).sum(0)  # type: ignore[union-attr]
        self.log("validation_jaccard", both / either.clamp_min(1), prog_bar=True)


def segmenter_loss(logits: Tensor, mask: Tensor, dice: float) -> Tensor:
    """Cross-entropy of logits (n, 2, y, x) against mask (n, y, x), and ``dice`` times one less the batch's Dice."""
    logits = logits.float()
    loss = functional.cross_entropy(logits, mask)
    if dice:
        found, true = logits.softmax(1)[:, 1], mask.float()
        loss = loss + dice * (1 - (2 * (found * true).sum() + 1) / (found.sum() + true.sum() + 1))
    return loss
