"""Figures 5 and 6: the weight of each layer in the loss, and how the networks learn, on networks small enough to train
meanwhile."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from microtomo.materials import load_stack
from microtomo.reproduce.sem.plan import NOISE, Settings
from microtomo.reproduce.sem.published import NAMES
from microtomo.reproduce.sem.reconstructions import STACK
from microtomo.seeds import Stream
from microtomo.simulate.samples import draw_structures
from microtomo.simulate.scans import simulate_scan
from microtomo.simulate.workers import Advance, unobserved
from microtomo.training.config import RunConfig
from microtomo.training.task import load_run
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

NETWORKS = ("conv3", "unet", "stacked-unet", "unet3d", "uvnet")
SHARE = {"conv3": 1.0, "unet": 1.0, "stacked-unet": 0.5, "unet3d": 0.25, "uvnet": 0.2}
"""Samples that a network sees, in shares of those that the quickest see: about the same seconds each."""
LOSSES = {"UNet": 1.0, "UNet01": 0.1, "UNet001": 0.01}
"""C_Al / C_Au of the report by its name of the network, both errors in nm^2."""
_EPOCHS, _SEED = 8, 6
_SECONDS = 0.009  # a sample of 32 x 32 pixels, about


@dataclass(frozen=True)
class TrainingJob:
    """Training of a network; ``ratio`` is C_Al / C_Au, None for equal weights in shares of each layer's range."""

    network: str
    ratio: float | None
    pixels: int
    width: int
    samples: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        return self.network if self.ratio is None else f"{self.network}-{self.ratio:g}"

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"training {self.name}"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        cost: float = _SECONDS * self.samples * (self.pixels / 32) ** 2 * (self.width / 8) ** 1.2
        return 3 + cost / SHARE[self.network]

    def folder(self, folder: Path) -> Path:
        """Folder of the run; its name holds what decides it."""
        digest = sha256(f"{version('microtomo')} {self.config().model_dump_json()}".encode()).hexdigest()[:8]
        return folder / "training" / f"{self.name}-{digest}"

    def done(self, folder: Path) -> bool:
        """Whether it was trained to the end."""
        from microtomo.training.run import WEIGHTS

        return (self.folder(folder) / WEIGHTS).is_file()

    def config(self) -> RunConfig:
        """The published output and loss, the signal as input, scans as the report's."""
        layer_weights = None
        if self.ratio is not None:
            gold, aluminium = load_stack(STACK).max_nm
            layer_weights = [gold**2, self.ratio * aluminium**2]  # our loss is in shares of the range, theirs in nm
        return load_run(
            self.network,
            network__width=self.width if self.network != "conv3" else None,
            network__dropout=0.0,  # half of so few channels would be too few
            data__structures={"perlin": 1.0},
            data__noise=NOISE,
            data__noise_share=1.0,
            data__height=self.pixels,
            data__width=self.pixels,
            data__epoch=max(1, self.samples // _EPOCHS),
            data__validation=8,
            optimiser__learning_rate=5e-3,
            optimiser__warmup=20,
            optimiser__average=0.98,
            optimiser__layer_weights=layer_weights,
            epochs=_EPOCHS,
            seed=_SEED,
            accelerator="cpu",
            precision="32-true",
        )

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Train, or go on where that was interrupted."""
        from microtomo.training.run import run_training

        with contextlib.redirect_stderr(io.StringIO()):  # one bar is enough
            run_training(self.config(), self.folder(folder))

    def curves(self, folder: Path) -> list[dict[str, float]]:
        """Samples, loss, validation_loss and validation_miou after each epoch."""
        from microtomo.training.progress import TABLE, read_table

        rows = read_table(self.folder(folder) / TABLE)
        return [{name: float(value or "nan") for name, value in row.items()} for row in rows]


def training_jobs(settings: Settings) -> list[TrainingJob]:
    """Every training: each network, and the UNet with each weight."""
    chosen = [n for n in NETWORKS if settings.methods is None or n in settings.methods]

    def one(network: str, ratio: float | None) -> TrainingJob:
        samples = max(_EPOCHS, round(settings.train_samples * SHARE[network]))
        return TrainingJob(network, ratio, settings.train_pixels, settings.train_width, samples)

    plain = [one(network, None) for network in chosen if network != "unet"]
    return plain + ([one("unet", ratio) for ratio in LOSSES.values()] if "unet" in chosen else [])


@styled
def curves_figure(trained: Mapping[str, list[dict[str, float]]]) -> Figure:
    """Figure 6: a) training and validation loss, each network's on a scale of its own; b) validation mIoU."""
    figure = new_figure(10.5, 4.0)
    left, right = figure.subplots(1, 2)
    for name, rows in trained.items():
        colour = colours.method_style(name).colour
        samples = [row["samples"] for row in rows]
        first, least = rows[0]["loss"], min(row["loss"] for row in rows)
        for key, line, width in (("loss", "-", 1.8), ("validation_loss", ":", 1.5)):
            shares = [(row[key] - least) / max(first - least, 1e-12) for row in rows]
            left.plot(samples, shares, line, color=colour, linewidth=width)
        right.plot(samples, [row["validation_miou"] for row in rows], color=colour, linewidth=1.8,
                   marker=colours.method_style(name).marker, markersize=5, label=NAMES[name])  # fmt: skip
    left.set(xlabel="samples seen", ylabel="loss: 1 after the first epoch, 0 at its least")
    left.set(title="a) loss: training (line), validation (dots)", ylim=(-0.05, 2.05))
    right.set(xlabel="samples seen", ylabel="voxel mIoU", title="b) validation structures", ylim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlim(left=0)
    right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@dataclass(frozen=True)
class Weighted:
    """A UNet with weighted loss on one validation structure: thickness (l, y, x), and the root mean square error over
    several structures, in shares of each layer's range."""

    thickness: np.ndarray
    errors: tuple[float, ...]


def weighted(settings: Settings, folder: Path, count: int = 8) -> tuple[dict[str, Weighted], np.ndarray]:
    """Each UNet of Figure 5 on the same structures, and the true thickness of the one that is shown."""
    from microtomo.inverse.reconstruct import reconstruct
    from microtomo.training.run import WEIGHTS

    stack, size = load_stack(STACK), settings.train_pixels
    truth = draw_structures(stack, "perlin", settings.seed, Stream.WEIGHTED_LOSSES, range(count), size, size)
    scan = simulate_scan(stack, truth, forward="published", noise=NOISE, seed=settings.seed)
    shown = int((truth > 0).float().mean((2, 3)).amin(1).argmax())  # the one that has most of both layers
    networks = {}
    for job in training_jobs(settings):
        if job.ratio is not None:
            name = next(n for n, ratio in LOSSES.items() if ratio == job.ratio)
            rec = reconstruct(scan, "unet", forward="published", weights=job.folder(folder) / WEIGHTS)
            share = (torch.as_tensor(rec.thickness) - truth) / torch.tensor(stack.max_nm)[:, None, None]
            errors = (share.double() ** 2).mean((0, 2, 3)).sqrt()
            networks[name] = Weighted(np.asarray(rec.thickness[shown]), tuple(errors.tolist()))
    return networks, truth[shown].numpy()


@styled
def weights_figure(networks: Mapping[str, Weighted]) -> Figure:
    """Errors of gold and aluminium by the weight of aluminium in the loss."""
    figure = new_figure(6.4, 3.2)
    axis = figure.subplots()
    place = np.arange(len(networks))
    stack = load_stack(STACK)
    tints = colours.stack_colours(stack)[1]
    for k, (symbol, tint) in enumerate(zip(stack.symbols, tints, strict=True)):
        bars: Any = axis.bar(place + 0.38 * (k - 0.5), [100 * w.errors[k] for w in networks.values()], 0.36, color=tint,
                             label=f"{symbol}, of {stack.max_nm[k]:g} nm")  # fmt: skip
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axis.set_xticks(place, [f"{name}\n$C_{{Al}}/C_{{Au}}$ = {LOSSES[name]:g}" for name in networks], parse_math=True)
    axis.set_ylabel("rms error [% of the range]")
    axis.margins(y=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
