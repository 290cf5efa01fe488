"""Five-fold cross-validation of segmenters: folds drawn at random as published, or grouped by acquisition date.

Source: Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804: five folds, twice, with new folds each time.
Random folds put images of one session on both sides; grouped folds say what to expect of a new session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError, nearest
from microtomo.io.micrographs import read_mask, read_micrograph
from microtomo.metrics import MaskScores, mask_scores
from microtomo.registry import list_methods
from microtomo.tem.segmentation import Segmentation
from microtomo.tem.thresholds import Fitting, fitted_methods

Segmenter = Callable[[np.ndarray], Segmentation]
Trainer = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Segmenter]
"""Trains on images (y, x) and masks (y, x), and sees nothing else; returns the trained segmenter."""

Fold = tuple[np.ndarray, np.ndarray]
"""Indices of the images to train on, and of those held out."""

DATE = 9
"""Characters at the start of a published image's name that are its date, such as 2013_0611."""

_LABEL = "_LABEL"


@dataclass(frozen=True)
class Labelled:
    """Micrographs (y, x) with masks (y, x) of their contaminant and their file names without suffix."""

    images: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dates(self) -> tuple[str, ...]:
        """Acquisition date of each image."""
        return tuple(name[:DATE] for name in self.names)


def read_labelled(folder: str | Path, read_label: Callable[[Path], np.ndarray] = read_mask) -> Labelled:
    """All images ``NAME.*`` of a folder, or of ``images`` in it, that have a ``NAME_LABEL.*`` beside.

    ``read_label`` makes labels (y, x) of such a file: by default True where it is not 0.

    Raises MicrotomoError where there are none or a label does not fit its image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MicrotomoError(f"{folder}: is no folder: give the one of images NAME.png with labels NAME{_LABEL}.png")
    labels = sorted(folder.glob(f"*{_LABEL}.*")) or sorted((folder / "images").glob(f"*{_LABEL}.*"))
    if not labels:
        raise MicrotomoError(f"{folder}: holds no labels: each image NAME.png needs a NAME{_LABEL}.png beside it")
    images, masks = [], []
    for label in labels:
        path = label.with_name(label.name.replace(_LABEL, ""))
        images.append(read_micrograph(path).image)
        masks.append(read_label(label))
        if images[-1].shape != masks[-1].shape:
            raise MicrotomoError(f"{label}: is {masks[-1].shape} but the image is {images[-1].shape} pixels")
    return Labelled(tuple(images), tuple(masks), tuple(label.stem.replace(_LABEL, "") for label in labels))


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
    """Cross-validated masks, in the order of the data, with their scores: pooled over all pixels, and by image."""

    masks: tuple[np.ndarray, ...]
    pooled: MaskScores
    mean: MaskScores
    deviation: MaskScores
    per_image: tuple[MaskScores, ...]


def cross_validate(
    data: Labelled,
    train: Trainer,
    folds: Sequence[Fold],
    progress: Callable[[int], None] = lambda images: None,
) -> Outcome:
    """Train on each fold's training images alone and segment its held-out ones.

    ``progress`` is told how many images each finished fold held. Mean and standard deviation over images leave out
    those where a score is not defined (an image without contaminant has no recall).
    """
    found: dict[int, np.ndarray] = {}
    for training, held in folds:
        if set(training) & set(held):
            raise MicrotomoError("a fold trains on what it holds out: give disjoint indices")
        segmenter = train([data.images[i] for i in training], [data.masks[i] for i in training])
        for i in held:
            if i in found:
                raise MicrotomoError(f"{data.names[i]} is held out by two folds: give each image to one")
            found[int(i)] = segmenter(data.images[i]).mask
        progress(len(held))
    order = sorted(found)
    if not order:
        raise MicrotomoError("no fold holds out an image: there is nothing to score")
    return outcome([found[i] for i in order], [data.masks[i] for i in order])


def outcome(masks: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> Outcome:
    """Scores of masks (y, x) against their labels (y, x)."""
    pooled = mask_scores(np.concatenate([m.ravel() for m in masks]), np.concatenate([t.ravel() for t in truths]))
    each = tuple(mask_scores(m, t) for m, t in zip(masks, truths, strict=True))
    names = [f.name for f in fields(MaskScores)]
    defined = {name: _defined([getattr(scores, name) for scores in each]) for name in names}
    mean = MaskScores(**{name: float(np.mean(v)) if len(v) else float("nan") for name, v in defined.items()})
    deviation = MaskScores(**{name: float(np.std(v)) if len(v) else float("nan") for name, v in defined.items()})
    return Outcome(tuple(masks), pooled, mean, deviation, each)


def _defined(values: Sequence[float]) -> np.ndarray:
    array = np.array(values)
    return np.asarray(array[np.isfinite(array)])


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
