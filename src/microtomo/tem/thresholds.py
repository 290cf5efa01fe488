"""Filters that score every pixel and compare with a threshold: how they answer, and how their parameters are fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.registry import get_method
from microtomo.tem.segmentation import Segmentation

Score = Callable[..., np.ndarray]
"""``score(image (y, x), **parameters) -> (y, x)``, not negative, high where the contaminant is."""

EDGES = np.geomspace(0.02, 50.0, 1801)
"""Thresholds that a fit considers: steps of 0.4 %."""


_BINS = len(EDGES) + 1
_STEP = float(np.log(EDGES[1] / EDGES[0]))


def _bins(score: np.ndarray) -> np.ndarray:
    """Number of thresholds that each score exceeds, flat."""
    with np.errstate(divide="ignore"):
        place = np.log(score.ravel() / np.float32(EDGES[0])) / np.float32(_STEP)
    return np.clip(np.ceil(place), 0, _BINS - 1).astype(np.int64)


@dataclass(frozen=True)
class _Filter:
    threshold: str
    grid: Mapping[str, tuple[float, ...]]
    score: Score


_FILTERS: dict[str, _Filter] = {}


def by_threshold(score: np.ndarray, threshold: float, method: str, options: dict[str, Any]) -> Segmentation:
    """Segmentation (y, x) from a score (y, x): the mask is where it exceeds the threshold."""
    if not threshold > 0:
        raise MicrotomoError(f"mask_threshold {threshold:g}: must be positive, in units of the normalised image")
    # without arrays on the way: they would cost a filter of 2 ms some per cent
    probabilities = np.empty((2, *score.shape), dtype=np.float32)
    np.add(score, np.float32(threshold), out=probabilities[0])
    np.divide(score, probabilities[0], out=probabilities[1])
    np.subtract(1, probabilities[1], out=probabilities[0])
    return Segmentation((score > threshold).view(np.uint8), probabilities, method, options)


def fitted_by(method: str, *, threshold: str, grid: Mapping[str, tuple[float, ...]]) -> Callable[[Score], Score]:
    """Decorator of a method's score: its option ``threshold`` and those in ``grid`` are to be fitted."""

    def add(score: Score) -> Score:
        _FILTERS[method] = _Filter(threshold, grid, score)
        return score

    return add


def fitted_methods(task: str | None = None) -> list[str]:
    """Names of the methods that ``fit`` knows, all or those of a task."""
    return [name for name in sorted(_FILTERS) if task in (None, get_method(name).task)]


def fit(method: str, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, float]:
    """The options of a filter with the highest Jaccard index, pooled over images (y, x) and their masks (y, x).

    Searches the filter's grid and, at each point of it, every threshold. Raises MicrotomoError for a method that has
    nothing to fit this way, and for images without any contaminant.
    """
    return Fitting(method).options(images, masks)


@dataclass
class Fitting:
    """Fits one filter to one choice of images after another; what is counted in an image is kept for the next."""

    method: str
    _kept: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        get_method(self.method)
        if self.method not in _FILTERS:
            raise MicrotomoError(
                f"method {self.method!r} is not fitted by thresholds; these are: {', '.join(_FILTERS)}"
            )

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> Callable[[np.ndarray], Segmentation]:
        """Fit on these images alone; returns the segmenter with the fitted options."""
        options, run = self.options(images, masks), get_method(self.method).run
        return lambda image: run(image, **options)

    def options(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, float]:
        """See ``fit``."""
        if len(images) != len(masks):
            raise MicrotomoError(f"there are {len(images)} images but {len(masks)} masks: give one mask an image")
        counts = sum(self._counts(image, mask) for image, mask in zip(images, masks, strict=True))
        if not isinstance(counts, np.ndarray) or not counts[:, 1].any():
            raise MicrotomoError("no image to fit on has a labelled contaminant: label some")
        # Pixels above each threshold: those in bins from it on.
        above = counts[..., ::-1].cumsum(-1)[..., ::-1]
        false, true = above[:, 0], above[:, 1]
        jaccard = (true / (counts[:, 1].sum(-1, keepdims=True) + false))[:, 1:]
        point, edge = np.unravel_index(jaccard.argmax(), jaccard.shape)
        return {**self._grid()[int(point)], self._filter.threshold: float(EDGES[int(edge)])}

    @property
    def _filter(self) -> _Filter:
        return _FILTERS[self.method]

    def _grid(self) -> list[dict[str, float]]:
        grid = self._filter.grid
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def _counts(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Pixels by point of the grid, truth (0, 1) and bin of the score: (g, 2, bins)."""
        if id(image) not in self._kept:
            # A score is smooth over several pixels: every second row and column tells as much.
            truth = np.asarray(mask, dtype=bool)[::2, ::2].ravel() * _BINS
            counts = np.stack(
                [
                    np.bincount(_bins(self._filter.score(image, **point)[::2, ::2]) + truth, minlength=2 * _BINS)
                    for point in self._grid()
                ]
            ).reshape(-1, 2, _BINS)
            self._kept[id(image)] = (image, counts)  # the image is held so that its id stays its own
        return self._kept[id(image)][1]
