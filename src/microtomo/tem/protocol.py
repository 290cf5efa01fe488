"""Five-fold cross-validation of segmenters: folds drawn at random as published, or grouped by acquisition date.

Source: Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804: five folds, twice, with new folds each time.
Random folds put images of one session on both sides; grouped folds say what to expect of a new session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, naming, nearest
from microtomo.io.micrographs import read_micrograph
from microtomo.registry import get_task, list_methods
from microtomo.tem.segmentation import DEFAULT_TASK, Segmentation, given_labels
from microtomo.tem.thresholds import Fitting, fitted_methods

Segmenter = Callable[[np.ndarray], Segmentation]
Trainer = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Segmenter]
"""Trains on images (y, x) and labels (y, x), and sees nothing else; returns the trained segmenter."""

Fold = tuple[np.ndarray, np.ndarray]
"""Indices of the images to train on, and of those held out."""

DATE = 9
"""Characters at the start of a published image's name that are its date, such as 2013_0611."""

_LABEL = "_LABEL"


@dataclass(frozen=True)
class Labelled:
    """Micrographs (y, x) with the labels (y, x) of a task's classes and their file names without suffix."""

    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    task: str = DEFAULT_TASK

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dates(self) -> tuple[str, ...]:
        """Acquisition date of each image."""
        return tuple(name[:DATE] for name in self.names)


def read_labelled(folder: str | Path, task: str = DEFAULT_TASK) -> Labelled:
    """All images ``NAME.*`` of a folder, or of ``images`` in it, with a ``NAME_LABEL.*`` beside.

    A label image holds 0, and not 0 for a task of two classes, else the numbers of the classes. Raises
    MicrotomoError where there are none or a label does not fit its image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MicrotomoError(f"{folder}: is no folder: give the one of images NAME.png with labels NAME{_LABEL}.png")
    labels = sorted(folder.glob(f"*{_LABEL}.*")) or sorted((folder / "images").glob(f"*{_LABEL}.*"))
    if not labels:
        raise MicrotomoError(f"{folder}: holds no labels: each image NAME.png needs a NAME{_LABEL}.png beside it")
    images, labelled = [], []
    for label in labels:
        path = label.with_name(label.name.replace(_LABEL, ""))
        images.append(read_micrograph(path).image)
        with naming(label):
            labelled.append(given_labels(read_micrograph(label).image, get_task(task)).labels)
        if images[-1].shape != labelled[-1].shape:
            raise MicrotomoError(f"{label}: is {labelled[-1].shape} but the image is {images[-1].shape} pixels")
    names = tuple(label.stem.replace(_LABEL, "") for label in labels)
    return Labelled(tuple(images), tuple(labelled), names, task)


def random_folds(count: int, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Pairs of (training, held-out) indices of ``count`` images: each image is held out once."""
    from sklearn.model_selection import KFold

    _enough(count, folds, "images")
    split = KFold(folds, shuffle=True, random_state=seed).split(np.zeros(count))
    return [(training, held) for training, held in split]


def grouped_folds(groups: Sequence[str], folds: int = 5, seed: int = 0) -> list[Fold]:
    """Pairs of (training, held-out) indices; no group stands on both sides, folds hold equally many or one less."""
    from sklearn.model_selection import GroupKFold

    _enough(len(set(groups)), folds, "groups")
    split = GroupKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(groups)), groups=list(groups))
    return [(training, held) for training, held in split]


@dataclass(frozen=True)
class Outcome:
    """Cross-validated labels, in the order of the data, with their scores by the task's metric: pooled over all
    pixels, and by image with their mean and standard deviation."""

    labels: tuple[np.ndarray, ...]
    pooled: Any
    mean: Any
    deviation: Any
    per_image: tuple[Any, ...]


def cross_validate(
    data: Labelled,
    train: Trainer,
    folds: Sequence[Fold],
    progress: Callable[[int], None] = lambda images: None,
) -> Outcome:
    """Train on each fold's training images alone and segment its held-out ones.

    ``progress`` is called with how many images each finished fold held. Mean and deviation over images leave out
    those where a score is not defined (an image without contaminant has no recall).
    """
    predicted: dict[int, np.ndarray] = {}
    for training, held in folds:
        if set(training) & set(held):
            raise MicrotomoError("a fold trains on what it holds out: give disjoint indices")
        segmenter = train([data.images[i] for i in training], [data.labels[i] for i in training])
        for i in held:
            if i in predicted:
                raise MicrotomoError(f"{data.names[i]} is held out by two folds: give each image to one")
            predicted[int(i)] = segmenter(data.images[i]).labels
        progress(len(held))
    order = sorted(predicted)
    if not order:
        raise MicrotomoError("no fold holds out an image: there is nothing to score")
    return outcome([predicted[i] for i in order], [data.labels[i] for i in order], data.task)


def outcome(labels: Sequence[np.ndarray], truths: Sequence[np.ndarray], task: str = DEFAULT_TASK) -> Outcome:
    """Scores of labels (y, x) against the truth (y, x), by the metric of their task."""
    known = get_task(task)
    classes = [label.name for label in known.classes]
    predicted, true = ([np.asarray(each, dtype=np.uint8) for each in images] for images in (labels, truths))
    whole = [np.concatenate([each.ravel() for each in images]) for images in (predicted, true)]
    pooled = known.metric.score(whole[0], whole[1], classes)
    each = tuple(known.metric.score(p, t, classes) for p, t in zip(predicted, true, strict=True))
    return Outcome(tuple(labels), pooled, average(each, np.mean), average(each, np.std), each)


def average(scores: Sequence[Any], how: Callable[[Any], Any] = np.mean) -> Any:
    """Scores of one kind as one: each number is the average of those that are defined (no NaN), NaN where none is."""

    def of(values: Sequence[Any]) -> Any:
        if isinstance(values[0], list):
            return [of(column) for column in zip(*values, strict=True)]
        if not isinstance(values[0], float):
            return values[0]
        defined = [value for value in values if np.isfinite(value)]
        return float(how(defined)) if defined else float("nan")

    return replace(scores[0], **{f.name: of([getattr(s, f.name) for s in scores]) for f in fields(scores[0])})


def _enough(count: int, folds: int, what: str) -> None:
    if not 2 <= folds <= count:
        raise MicrotomoError(f"{folds} folds of {count} {what}: choose 2 to {count}")


SCHEMES = ("random", "by date")
"""Choices of folds: the published protocol, and the honest one."""

SYNTHETIC = "synthetic"
"""No folds: every image is held out, and a method that trains on synthetic images does with those alone."""


def schemes(data: Labelled, folds: int = 5, seeds: Sequence[int] = (0, 1)) -> list[tuple[str, int, list[Fold]]]:
    """Both choices of folds, once a seed: (one of SCHEMES, seed, folds); and none, once: (SYNTHETIC, 0, one fold)."""
    random = [("random", seed, random_folds(len(data), folds, seed)) for seed in seeds]
    by_date = [("by date", seed, grouped_folds(data.dates, folds, seed)) for seed in seeds]
    return [*random, *by_date, (SYNTHETIC, 0, [(np.arange(0), np.arange(len(data)))])]


MakeTrainer = Callable[[Path | None], Trainer]
"""Makes a trainer, given a folder in which to keep what it has trained, or None to keep nothing."""

_TRAINERS: dict[str, MakeTrainer] = {}


def trained_by(method: str) -> Callable[[MakeTrainer], MakeTrainer]:
    """Decorator of a function that makes the trainer of a registered method: the protocol then covers the method."""

    def add(make: MakeTrainer) -> MakeTrainer:
        _TRAINERS[method] = make
        return make

    return add


def trainer_of(method: str, folder: Path | None = None) -> Trainer:
    """A fresh trainer of a segmenter; filters are fitted. Raises MicrotomoError for one that cannot be trained."""
    list_methods()  # registers them
    if method in _TRAINERS:
        return _TRAINERS[method](folder)
    if method in fitted_methods():
        return Fitting(method)
    known = [*fitted_methods(), *_TRAINERS]
    raise MicrotomoError(f"no training is known for method {method!r}; {nearest(method, known)}")
