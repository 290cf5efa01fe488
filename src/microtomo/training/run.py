"""A training run from configuration to weights: resumable, logged, drawn."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import machine, whole_file, writing
from microtomo.models.weights import save_weights
from microtomo.training.config import RunConfig, TrainConfig
from microtomo.training.curves import draw_curves
from microtomo.training.data import ScanData
from microtomo.training.module import RunModule, Training
from microtomo.training.pairs import PairData, Pairs, SegmenterRun
from microtomo.training.progress import TABLE, Told, read_table
from microtomo.training.segmenting import SegmenterTraining

WEIGHTS, CONFIG, CHECKPOINTS = "weights.safetensors", "config.json", "checkpoints"


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints under a temporary name first: a killed run leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        temporary = f"{path}.part"
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)


def train(config: RunConfig, folder: str | Path, pairs: Pairs | None = None) -> Path:
    """Train a network, or go on where the same run was interrupted; returns the path of its weights.

    ``folder`` holds config.json, checkpoints, metrics.csv, TensorBoard logs, learning_curve.png and at the end
    weights.safetensors. ``pairs`` are images with masks for a segmenter, instead of those of its
    ``data.folder``. The weights are those of the epoch with the best validation score, the last where nothing is
    validated. The same configuration gives the same weights on one kind of machine, interrupted or not.

    Raises
    ------
    MicrotomoError
        Where ``folder`` holds another run, or the data set, the device or the folder cannot be used.
    """
    folder = Path(folder)
    _own(folder, config)
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    data: ScanData | PairData
    if isinstance(config, SegmenterRun):
        data = PairData(config, pairs)
    else:
        assert isinstance(config, TrainConfig)
        data = ScanData(config)
    with _quiet():
        pl.seed_everything(config.seed, workers=True, verbose=False)
        module: RunModule
        if isinstance(config, SegmenterRun):
            module = SegmenterTraining(config, config.epochs * data.steps_of_epoch)
        else:
            module = Training(config, config.epochs * data.steps_of_epoch)
        if config.start is not None:
            module.start_from(config.start)
        monitor = f"validation_{config.metric}" if config.validates else None
        best = ModelCheckpoint(
            folder / CHECKPOINTS, "best", monitor, mode="max", save_last=True, enable_version_counter=False
        )
        trainer = _trainer(config, folder, best)
        last = folder / CHECKPOINTS / "last.ckpt"
        try:
            trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    checkpoint = torch.load(folder / CHECKPOINTS / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.cpu().finish()
    rows = read_table(folder / TABLE)
    card: dict[str, Any] = {
        "data": data.described,
        "optimiser": config.optimiser.model_dump(mode="json"),
        "start": None if config.start is None else config.start.name,
        "seed": config.seed,
        "epochs": int(rows[-1]["epoch"]),
        "samples": int(rows[-1]["samples"]),
        "training_seconds": round(float(rows[-1]["seconds"])),
        "machine": machine(),
        "versions": {name: version(name) for name in ("microtomo", "torch", "lightning")},
    }
    if config.validates:
        card[f"validation_{config.metric}"] = max(float(row[f"validation_{config.metric}"]) for row in rows)
    draw_curves(rows, folder / "learning_curve.png", config.network.architecture, config.metric, config.score)
    save_weights(folder / WEIGHTS, module.network, card)
    return folder / WEIGHTS


def _trainer(config: RunConfig, folder: Path, best: ModelCheckpoint) -> pl.Trainer:
    settings = config.optimiser
    callbacks: list[Callback] = [Told(config, folder), best]
    if config.validates:
        callbacks.append(EarlyStopping(f"validation_{config.metric}", mode="max", patience=settings.patience))
    if settings.average:
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=partial(_moved, settings.average)))
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="ddp_spawn" if config.devices > 1 else "auto",
            precision=_precision(config),
            max_epochs=config.epochs,
            gradient_clip_val=settings.clip,
            callbacks=callbacks,
            plugins=[_WholeFiles()],
            logger=TensorBoardLogger(folder, name="tensorboard", version=""),
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if config.validates else 0,
            log_every_n_steps=1_000_000,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        reason = str(error).splitlines()[0]
        raise MicrotomoError(f"cannot train on {config.devices} x {config.accelerator}: {reason}: use cpu") from None


def _moved(decay: float, average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
    """Exponential moving average whose memory grows with the steps ``count`` until it is ``decay``."""
    memory = min(decay, (1 + int(count)) / (10 + int(count)))
    return average + (1 - memory) * (value - average) if average.is_floating_point() else value


def _precision(config: RunConfig) -> Any:
    if config.precision != "auto":
        return config.precision
    fast = (torch.cuda.is_available() and config.accelerator != "cpu") or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


def _own(folder: Path, config: RunConfig) -> None:
    """Make the folder this run's, or see that it is."""
    described = json.dumps(config.model_dump(mode="json"), indent=1, sort_keys=True)
    path = folder / CONFIG
    if path.is_file():
        try:
            known = json.loads(path.read_text())
        except (ValueError, OSError):
            known = None
        if known != json.loads(described):
            raise MicrotomoError(f"{folder}: holds a run with other settings: give another folder, or remove it")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise MicrotomoError(f"{folder}: is not empty and no training run: give another folder")
    with writing(folder):
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(described)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning tells much that is no news to the user."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", ".*isinstance.*LeafSpec.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
