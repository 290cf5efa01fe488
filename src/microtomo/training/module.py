"""One training step, one validation step, and how the weights move."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from microtomo.models.architectures import build_network
from microtomo.training.config import OptimiserConfig
from microtomo.training.task import TrainingTask


class RunModule(pl.LightningModule):
    """The network of a task in training: how its weights move over ``steps`` steps.

    It logs ``loss``, ``validation_loss`` and ``validation_METRIC``, the one that its configuration names. Validation
    sees the averaged weights.
    """

    def __init__(self, task: TrainingTask, steps: int) -> None:
        super().__init__()
        self.task, self.steps = task, steps
        self.settings: OptimiserConfig = task.config.optimiser
        self.network = build_network(task.config.network)
        self.counts: Tensor | None = None

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of one batch."""
        loss = self.task.loss(self.network, batch)
        self.log("loss", loss.detach(), prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.counts = None

    def validation_step(self, batch: Any, index: int) -> None:
        """Loss and counts of one batch."""
        loss, counts = self.task.assess(self.network, batch)
        self.counts = counts if self.counts is None else self.counts + counts
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(batch[0]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        assert self.counts is not None
        score = self.task.score(self.counts).to(self.device, torch.float32)
        self.log(f"validation_{self.task.run.metric}", score, prog_bar=True, sync_dist=True)

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
