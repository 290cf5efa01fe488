"""What a training run tells while it runs: a bar on a terminal, a line an epoch elsewhere, a table for later."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

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
from microtomo.training.config import RunConfig

_LOOK = 20  # batches between looks at the loss, each of which waits for the device
TABLE = "metrics.csv"
COLUMNS = ("epoch", "samples", "seconds", "loss", "validation_loss")


class Told(Callback):
    """Progress on stderr, and metrics.csv, one line an epoch; its clock survives interruption."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.config, self.path = config, folder / TABLE
        self.seconds = self.started = 0.0
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = float(state_dict["seconds"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.perf_counter() - self.seconds
        if trainer.is_global_zero and sys.stderr.isatty():
            self._show(trainer)
        if trainer.is_global_zero:
            _keep_first(self.path, trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.is_last_batch or batch_idx % _LOOK == 0) and not bool(torch.isfinite(outputs["loss"])):
            raise MicrotomoError(
                f"training diverged in epoch {trainer.current_epoch + 1}: set a lower optimiser.learning_rate, or "
                "precision=32-true"
            )
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.started

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.config.validates:
            self.seconds = time.perf_counter() - self.started
        if not trainer.is_global_zero:
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        row = {"epoch": epoch, "samples": epoch * self.config.data.epoch, "seconds": round(self.seconds, 1), **found}
        fresh = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            table = csv.DictWriter(file, (*COLUMNS, f"validation_{self.config.metric}"), extrasaction="ignore")
            if fresh:
                table.writeheader()
            table.writerow(row)
        score = found.get(f"validation_{self.config.metric}")
        told = "" if score is None else f"validation {self.config.score} {score:.4f}, "
        if self.bar is None:
            rate = row["samples"] / max(self.seconds, 1e-9)
            print(
                f"epoch {epoch}/{self.config.epochs}: loss {found.get('loss', float('nan')):.4f}, {told}"
                f"{self.seconds:.0f} s, {rate:.1f} samples/s",
                file=sys.stderr,
                flush=True,
            )
        else:
            self.bar.update(self.task, description=told.removesuffix(", ") or f"loss {found['loss']:.4f}")

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _show(self, trainer: pl.Trainer) -> None:
        told = TextColumn("{task.description}")
        columns = (told, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True))
        total = int(trainer.estimated_stepping_batches)
        self.task = self.bar.add_task("training", total=total, completed=trainer.global_step)
        self.bar.start()


def _keep_first(path: Path, epochs: int) -> None:
    """Drop what an interrupted run wrote after its last checkpoint."""
    if path.is_file():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: epochs + 1]))


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, one an epoch."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
