"""A training run from configuration to weights: resumable, logged, drawn."""

from __future__ import annotations

import logging
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
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import machine, writing
from microtomo.io.folders import claim_folder
from microtomo.models.weights import save_weights, shipped_weights, start_from
from microtomo.training import checkpoints
from microtomo.training.config import SHIPPED, RunConfig
from microtomo.training.curves import draw_curves
from microtomo.training.data import RunData
from microtomo.training.module import RunModule
from microtomo.training.progress import TABLE, RunProgress, read_table
from microtomo.training.task import load_run, training_task

WEIGHTS, CONFIG, CHECKPOINTS = "weights.safetensors", "config.json", "checkpoints"


def train(architecture: str, folder: str | Path, config: str | Path | None = None, **settings: Any) -> Path:
    """Train a network, or go on where the same run was interrupted.

    Parameters
    ----------
    architecture
        Name of a network, such as ``unet`` or ``graphene-unet``.
    folder
        Folder of the run, see :func:`run_training`.
    config
        TOML file with settings.
    settings
        Settings that override those of the file, with two underlines for a dot: ``epochs=3``, ``network__width=24``,
        ``data__folder="images"``.

    Returns
    -------
    Path of the weights, which serve ``reconstruct`` or ``segment`` as ``weights``.

    Raises
    ------
    MicrotomoError
        For unknown networks and settings, and as :func:`run_training`.
    """
    return run_training(load_run(architecture, config, **settings), folder)


def run_training(config: RunConfig, folder: str | Path, images: Any = None) -> Path:
    """Train the network of a configuration, or go on where the same run was interrupted; returns its weights' path.

    ``folder`` holds config.json, checkpoints, metrics.csv, TensorBoard logs, learning_curve.png and at the end
    weights.safetensors. ``images`` are samples in memory, for tasks that take some, instead of those that the
    configuration names. The weights are those of the epoch with the best validation score, the last where nothing is
    validated. The same configuration gives the same weights on one kind of machine, interrupted or not.

    Raises
    ------
    MicrotomoError
        Where ``folder`` holds another run or another process trains there, or the data set, the device or the folder
        cannot be used.
    """
    results = (WEIGHTS, f"{CHECKPOINTS}/*.ckpt")
    with claim_folder(folder, CONFIG, config.model_dump(mode="json"), "run", results=results) as claimed:
        if not (claimed / WEIGHTS).is_file():
            task = training_task(type(config.network))(config, images)
            data = RunData(task)
            with _quiet():
                module = _fit(config, claimed, data)
            task.finish(module.network)
            _conclude(config, claimed, data, module)
        return claimed / WEIGHTS


def _fit(config: RunConfig, folder: Path, data: RunData) -> RunModule:
    """Train to the end, and give back the weights to keep, on the CPU."""
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = RunModule(data.task, config.epochs * data.steps_of_epoch)
    if config.start is not None:
        shipped = config.start == Path(SHIPPED)
        start = shipped_weights(config.network.architecture, config.variant) if shipped else config.start
        start_from(module.network, start)
    trainer = _trainer(config, folder)
    last = folder / CHECKPOINTS / checkpoints.LAST
    with writing(last.parent):
        last.parent.mkdir(exist_ok=True)
    try:
        trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    chosen = folder / CHECKPOINTS / (checkpoints.BEST if config.validates else checkpoints.LAST)
    module.load_state_dict(torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"])
    return module.cpu()


def _trainer(config: RunConfig, folder: Path) -> pl.Trainer:
    settings, monitor = config.optimiser, f"validation_{config.metric}"
    callbacks: list[Callback] = [
        RunProgress(config, folder),
        checkpoints.SeedOfStep(config.seed),
    ]
    if config.validates:
        callbacks.append(checkpoints.after_the_best_epoch(folder / CHECKPOINTS, monitor))
        callbacks.append(checkpoints.Patience(monitor, settings.patience))
    if settings.average:
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=partial(_moved, settings.average)))
    callbacks.append(checkpoints.after_every_epoch(folder / CHECKPOINTS))  # last, so that it holds the others' state
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="ddp_spawn" if config.devices > 1 else "auto",
            precision=_precision(config),
            max_epochs=config.epochs,
            gradient_clip_val=settings.clip,
            callbacks=callbacks,
            plugins=[checkpoints.WholeCheckpoints()],
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


def _conclude(config: RunConfig, folder: Path, data: RunData, module: RunModule) -> None:
    """Draw the learning curve and write the weights with their card."""
    rows = read_table(folder / TABLE)
    card: dict[str, Any] = {
        "data": data.task.described,
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


def _moved(decay: float, average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
    """Exponential moving average whose memory grows with the steps ``count`` until it is ``decay``."""
    memory = min(decay, (1 + int(count)) / (10 + int(count)))
    return average + (1 - memory) * (value - average) if average.is_floating_point() else value


def _precision(config: RunConfig) -> Any:
    if config.precision != "auto":
        return config.precision
    fast = (torch.cuda.is_available() and config.accelerator != "cpu") or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning says much that is no news to the user."""
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
