"""How a training run goes, while it runs: a bar on a terminal, a line an epoch elsewhere, a table for later."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file
from microtomo.training.config import RunConfig

CHECK_EVERY = 20
"""Batches between looks at the loss, each of which waits for the device."""
TABLE = "metrics.csv"
COLUMNS = ("epoch", "samples", "seconds", "loss", "validation_loss")


class RunProgress(Callback):
    """Progress on stderr, and metrics.csv, one line an epoch; its clock and its table survive interruption."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.config, self.path = config, folder / TABLE
        self.rows: list[dict[str, float]] = []
        self.seconds = self.started = 0.0
        self.samples = 0
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "samples": self.samples, "rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.rows = float(state_dict["seconds"]), list(state_dict["rows"])
        self.samples = int(state_dict.get("samples", self.rows[-1]["samples"] if self.rows else 0))

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.perf_counter() - self.seconds
        if trainer.is_global_zero and sys.stderr.isatty():
            self._show(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.is_last_batch or batch_idx % CHECK_EVERY == 0) and not bool(torch.isfinite(outputs["loss"])):
            raise MicrotomoError(
                f"training diverged in epoch {trainer.current_epoch + 1}: set a lower optimiser.learning_rate, or "
                "precision=32-true"
            )
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.started
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        self.samples += len(cast(Any, trainer.train_dataloader).sampler) * trainer.world_size
        self.rows.append({"epoch": epoch, "samples": self.samples, "seconds": round(self.seconds, 1), **metrics})
        if not trainer.is_global_zero:
            return
        with whole_file(self.path) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, (*COLUMNS, f"validation_{self.config.metric}"), extrasaction="ignore")
            table.writeheader()
            table.writerows(self.rows)
        score = metrics.get(f"validation_{self.config.metric}")
        scored = "" if score is None else f"validation {self.config.score} {score:.4f}, "
        if self.bar is None:
            print(
                f"epoch {epoch}/{self.config.epochs}: loss {metrics.get('loss', float('nan')):.4f}, {scored}"
                f"{self.seconds:.0f} s, {self.samples / max(self.seconds, 1e-9):.1f} samples/s",
                file=sys.stderr,
                flush=True,
            )
        else:
            self.bar.update(self.task, description=scored.removesuffix(", ") or f"loss {metrics['loss']:.4f}")

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _show(self, trainer: pl.Trainer) -> None:
        text = TextColumn("{task.description}")
        columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True))
        total = int(trainer.estimated_stepping_batches)
        self.task = self.bar.add_task("training", total=total, completed=trainer.global_step)
        self.bar.start()


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, one an epoch."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
