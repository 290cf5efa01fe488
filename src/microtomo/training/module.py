"""One training step, one validation step, and how the weights move."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from microtomo.inverse.problem import Problem
from microtomo.metrics import voxel_scores
from microtomo.models.scans.network import SemNetwork
from microtomo.models.weights import start_from
from microtomo.training.batch import Batch
from microtomo.training.calibrate import calibrate
from microtomo.training.config import RunConfig, TrainConfig
from microtomo.training.losses import loss_of
from microtomo.voxels import thickness_to_volume


class RunModule(pl.LightningModule):
    """A network of whatever task in training: how its weights move over ``steps`` steps.

    It logs ``loss``, ``validation_loss`` and ``validation_METRIC``, the one that its configuration names.
    """

    network: nn.Module

    def __init__(self, config: RunConfig, steps: int) -> None:
        super().__init__()
        self.settings, self.steps = config.optimiser, steps

    def start_from(self, path: Path) -> None:
        """Take over what fits of a weights file."""
        raise NotImplementedError

    def finish(self) -> None:
        """Set what is measured once the weights are final."""

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        """AdamW, linear warm-up, cosine to zero."""
        settings, steps = self.settings, self.steps
        optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        warmup = min(settings.warmup, steps // 5)

        def share(step: int) -> float:
            rise = min(1.0, (step + 1) / (warmup + 1))
            return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Training(RunModule):
    """A network for scans. Validation scores the averaged weights by voxel mIoU (published protocol)."""

    network: SemNetwork

    def __init__(self, config: TrainConfig, steps: int) -> None:
        super().__init__(config, steps)
        self.config = config
        self.network = SemNetwork(config.network)

    def start_from(self, path: Path) -> None:
        start_from(self.network, path)

    def finish(self) -> None:
        calibrate(self.network, self.config)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        batch = Batch(*batch)
        outputs = self.network.supervised(batch.signal, batch.noise)
        loss = loss_of(self.network, outputs, batch.thickness, self.config.optimiser.layer_weights)
        self.log("loss", loss.detach(), prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch.noise))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """mIoU and loss of one batch."""
        batch = Batch(*batch)
        network = self.config.network
        problem = Problem(network.forward_model, batch.noise.cpu(), network.depth, network.voxel_nm)
        with torch.autocast(batch.signal.device.type, enabled=False):  # as reconstruct does it
            found = self.network.estimate(batch.signal, problem)
        truth = thickness_to_volume(batch.thickness, network.depth, network.voxel_nm)
        classes = ["empty", *network.stack.symbols]
        miou = voxel_scores(found.volume.cpu(), truth.cpu(), classes).miou
        count = len(batch.noise)
        self.log("validation_miou", miou, prog_bar=True, on_epoch=True, batch_size=count, sync_dist=True)
        loss = loss_of(self.network, self.network.supervised(batch.signal, batch.noise), batch.thickness)
        self.log("validation_loss", loss, on_epoch=True, batch_size=count, sync_dist=True)
