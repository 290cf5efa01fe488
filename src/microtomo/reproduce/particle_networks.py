"""Networks for nanoparticles trained on labelled tiles fold by fold, as Horwath et al. (2020) compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Shape, build_network
from microtomo.models.micrographs.network import SegmenterNetwork, run
from microtomo.models.weights import load_network
from microtomo.tem.particles.gaussian_otsu import otsu
from microtomo.tem.protocol import Fold, Labelled, grouped_folds
from microtomo.training.images import LabelledImages
from microtomo.training.run import run_training
from microtomo.training.task import load_run

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
"""Thresholds of the probability that scores are computed at."""

PAPER = 0.4
"""The paper's threshold."""

HOURGLASS, UNET, SHALLOW = "horwath-hourglass", "horwath-512", "horwath-filters-32"
NETWORKS = (HOURGLASS, UNET, SHALLOW, "horwath-filter-9", "particle-fcn8s")
"""What is trained where nothing is named."""

OWN: dict[str, tuple[str, ...]] = {
    "particle-fcn8s": ("network.width=0.25", "network.bridge=128"),
    "particle-fcn8s-dilated": ("network.width=0.25", "network.bridge=128"),
    "particle-unet-64": ("network.features=16",),
    "particle-unet-64-dilated": ("network.features=16",),
}
"""Settings of networks whose published size a processor would train for days: a quarter of the channels."""

_COMMON = (
    *("dice=0", "data.validation=0", "data.inversion=0", "data.zoomed=0"),
    *("optimiser.warmup=20", "optimiser.average=0.98"),
)
"""Cross-entropy alone, as published, so that probabilities mean what they say."""


@dataclass(frozen=True)
class Plan:
    """What is trained: ``networks``, ``folds`` of which the first ``used`` are run, ``runs`` of each with other random
    numbers, for ``epochs`` of ``samples`` squares of ``crop_px`` pixels."""

    networks: tuple[str, ...] = NETWORKS
    folds: int = 5
    used: int = 5
    runs: int = 3
    epochs: int = 12
    samples: int = 640
    crop_px: int = 192
    learning_rate: float = 2e-3

    def settings(self, network: str, run: int) -> tuple[str, ...]:
        """Settings of one training."""
        own = (f"epochs={self.epochs}", f"data.epoch={self.samples}", f"data.crop={self.crop_px}", f"seed={run + 1}")
        return (*_COMMON, f"optimiser.learning_rate={self.learning_rate}", *own, *OWN.get(network, ()))


QUICK = Plan(folds=5, used=1, runs=2, epochs=3, samples=160, crop_px=128, learning_rate=4e-3)
"""A quarter of an hour on one core instead of a night: one fold, two runs, short trainings."""


@dataclass(frozen=True)
class Answers:
    """Probabilities (y, x), float32, of a network on held-out tiles: ``of[run][tile]`` by the tile's number;
    ``weights`` of the first training of each run."""

    network: str
    parameters: int
    of: tuple[dict[int, np.ndarray], ...]
    weights: tuple[Path, ...]


def answers(
    network: str, plan: Plan, data: Labelled, groups: Sequence[str], folder: Path, say: Callable[[str], None]
) -> Answers:
    """Train a network on each fold and run of a plan, and let it answer on what the fold holds out.

    Trainings are kept in ``folder``: finished ones are read, interrupted ones go on.
    """
    folds = grouped_folds(groups, plan.folds, 0)[: plan.used]
    found: list[dict[int, np.ndarray]] = []
    first: list[Path] = []
    for number in range(plan.runs):
        here: dict[int, np.ndarray] = {}
        for k, fold in enumerate(folds):
            say(f"{network}, run {number + 1} of {plan.runs}, fold {k + 1} of {len(folds)}")
            weights = _trained(network, plan.settings(network, number), data, fold, folder)
            first += [weights] if k == 0 else []
            trained = load_network(weights, SegmenterNetwork, network)
            for i in fold[1]:
                here[int(i)] = run(trained, data.images[i], 1, {}).probability.astype(np.float32)
        found.append(here)
    shape = load_run(network, None, plan.settings(network, 0)).network
    return Answers(network, _size(shape), tuple(found), tuple(first))


def _trained(network: str, settings: Sequence[str], data: Labelled, fold: Fold, folder: Path) -> Path:
    config = load_run(network, None, list(settings))
    held = hashlib.sha256(f"{settings}{[data.names[i] for i in fold[1]]}".encode()).hexdigest()[:12]
    images = LabelledImages([data.images[i] for i in fold[0]], [data.labels[i] for i in fold[0]])
    return run_training(config, folder / f"{network}-{held}", images)


def _size(shape: Shape) -> int:
    import torch

    with torch.device("meta"):
        return build_network(shape).parameters_count


@dataclass(frozen=True)
class Curves:
    """Precision, recall and F1 at :data:`THRESHOLDS`, (images, thresholds) each, and pooled over all pixels (3,
    thresholds); ``otsu`` (images,) Otsu's threshold of each probability, ``at_otsu`` (3,) pooled at those."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    pooled: np.ndarray
    otsu: np.ndarray
    at_otsu: np.ndarray

    def at(self, threshold: float) -> np.ndarray:
        """Pooled precision, recall and F1 (3,) at one of the thresholds."""
        return np.asarray(self.pooled[:, int(np.argmin(np.abs(THRESHOLDS - threshold)))])


def curves(probabilities: dict[int, np.ndarray], data: Labelled) -> Curves:
    """Scores of probabilities of tiles against their labels. Raises MicrotomoError where there are none."""
    if not probabilities:
        raise MicrotomoError("no tile is held out: there is nothing to score")
    counts, own, levels = [], [], []
    for i, probability in sorted(probabilities.items()):
        true = np.asarray(data.labels[i]) > 0
        counts.append([_counts(probability > t, true) for t in THRESHOLDS])
        levels.append(otsu(probability))
        own.append(_counts(probability > levels[-1], true))
    table = np.array(counts, dtype=np.float64)  # image, threshold, (right, found, there)
    precision, recall, f1 = _ratios(table)
    return Curves(
        precision, recall, f1, _ratios(table.sum(0)), np.array(levels), _ratios(np.array(own, dtype=np.float64).sum(0))
    )


def _counts(found: np.ndarray, true: np.ndarray) -> tuple[int, int, int]:
    return int((found & true).sum()), int(found.sum()), int(true.sum())


def _ratios(counts: np.ndarray) -> np.ndarray:
    """Precision, recall, F1 (3, ...) of (..., 3) right, found and true pixels; nothing found has precision 1."""
    right, found, there = np.moveaxis(counts, -1, 0)
    precision = np.where(found > 0, right / np.maximum(found, 1), 1.0)
    return np.stack([precision, right / np.maximum(there, 1), 2 * right / np.maximum(found + there, 1)])


@dataclass(frozen=True)
class Centre:
    """A particle of a label that no border cuts: its ``tile``, ``place`` (y, x) of its innermost pixel,
    ``diameter_px``, and the mean probability ``inside`` its inner half, by network."""

    tile: int
    place: tuple[int, int]
    diameter_px: float
    inside: dict[str, float]


def centres(found: Sequence[Answers], data: Labelled, least_px: float = 12.0) -> list[Centre]:
    """How sure each network (mean of its runs) is at the centres of particles of at least ``least_px``, smallest first:
    the inner half is where the distance from the outline is above half the greatest."""
    result = []
    for i in sorted(found[0].of[0]):
        parts, count = ndimage.label(np.asarray(data.labels[i]) > 0)
        depth = ndimage.distance_transform_edt(parts > 0)
        mean = {a.network: np.mean([run[i] for run in a.of], 0) for a in found}
        for number, box in enumerate(ndimage.find_objects(parts)[:count], 1):
            mine = parts[box] == number
            diameter = 2 * float(np.sqrt(mine.sum() / np.pi))
            cut = box[0].start == 0 or box[1].start == 0
            cut = cut or box[0].stop == parts.shape[0] or box[1].stop == parts.shape[1]
            if cut or diameter < least_px:
                continue
            here = np.where(mine, depth[box], 0)
            row, column = np.unravel_index(int(here.argmax()), here.shape)
            inner = here > here.max() / 2
            inside = {name: float(values[box][inner].mean()) for name, values in mean.items()}
            result.append(Centre(i, (int(row) + box[0].start, int(column) + box[1].start), diameter, inside))
    return sorted(result, key=lambda c: c.diameter_px)
