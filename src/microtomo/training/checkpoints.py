"""What makes a resumed run the same run: whole checkpoints after every epoch, and random numbers by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from microtomo.io.atomic import whole_file
from microtomo.seeds import Stream, derive_seed

BEST, LAST = "best.ckpt", "last.ckpt"


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: a killed run leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole_file(path) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


class MovableCheckpoint(ModelCheckpoint):
    """One checkpoint of a fixed name, whose score is remembered when the run's folder has been moved."""

    def __init__(self, folder: Path, name: str, **settings: Any) -> None:
        super().__init__(folder, Path(name).stem, enable_version_counter=False, **settings)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        path = str(Path(str(self.dirpath)) / f"{self.filename}.ckpt")
        paths = [key for key in ("best_model_path", "kth_best_model_path", "last_model_path") if state_dict.get(key)]
        scores = dict(zip([path], state_dict["best_k_models"].values(), strict=False))
        here = {"dirpath": self.dirpath, "best_k_models": scores, **dict.fromkeys(paths, path)}
        super().load_state_dict({**state_dict, **here})


def after_every_epoch(folder: Path) -> ModelCheckpoint:
    """Keeps what the run goes on from, whatever the score."""
    return MovableCheckpoint(folder, LAST, save_on_train_epoch_end=True)


def after_the_best_epoch(folder: Path, monitor: str) -> ModelCheckpoint:
    """Keeps the epoch with the highest score."""
    return MovableCheckpoint(folder, BEST, monitor=monitor, mode="max")


class Patience(EarlyStopping):
    """Stops after ``patience`` epochs without a better score, and stays stopped when the run is taken up again."""

    def __init__(self, monitor: str, patience: int) -> None:
        super().__init__(monitor, mode="max", patience=patience)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class SeedOfStep(Callback):
    """Seeds torch anew before each step, from the run's seed, the step and the device alone.

    Dropout is then the same whether a run was interrupted or not, which states kept in a checkpoint promise only where
    nothing else draws from them meanwhile.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        seed = derive_seed(self.seed, Stream.NETWORK, trainer.global_step, trainer.global_rank)
        torch.manual_seed(seed)
