"""How well particles agree with boxes drawn by hand: detection, counts and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from microtomo.errors import MicrotomoError

NEAR = 0.5
"""A match: the particle's centre lies closer to the box's centre than this share of the box's longer side."""


@dataclass(frozen=True)
class Agreement:
    """Matches of particles and boxes, to be added up over images: ``particle`` and ``box`` (m,) indices of each pair;
    ``log_sizes`` (m, 2) natural logarithms of diameter and box side (geometric mean of the two)."""

    particles: int
    boxes: int
    particle: np.ndarray
    box: np.ndarray
    log_sizes: np.ndarray

    @property
    def matched(self) -> int:
        """Pairs."""
        return len(self.particle)

    @property
    def count_error(self) -> float:
        """Difference of the numbers over the number of boxes."""
        return abs(self.particles - self.boxes) / max(self.boxes, 1)


@dataclass(frozen=True)
class Score:
    """Agreement over a set: pooled precision, recall and F1; count error as the mean over images and of the sum; the
    correlation of log diameters with log box sides over all matches."""

    precision: float
    recall: float
    f1: float
    count_error: float
    pooled_count_error: float
    correlation: float


def agreement(centres: np.ndarray, diameters: np.ndarray, boxes: np.ndarray) -> Agreement:
    """Match particles, ``centres`` (n, 2) x first with ``diameters`` (n,), with ``boxes`` (b, 4) x0, y0, x1, y1,
    all in pixels: one to one, as many pairs as possible and the nearest of those."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    reach = NEAR * sides.max(1, initial=0)
    apart = np.hypot(*(centres[:, None] - middle[None]).transpose(2, 0, 1))
    allowed = apart < reach
    # a pair that is allowed always beats one that is not, whatever the distance
    cost = np.where(allowed, apart / np.maximum(reach, 1e-9) - 2.0, 0.0)
    row, column = linear_sum_assignment(cost) if cost.size else (np.empty(0, int), np.empty(0, int))
    good = allowed[row, column] if cost.size else np.empty(0, bool)
    row, column = np.asarray(row)[good], np.asarray(column)[good]
    side = np.sqrt(sides[column].prod(1))
    sizes = np.log(np.stack([diameters[row], side], axis=1)) if len(row) else np.empty((0, 2))
    return Agreement(len(centres), len(boxes), row, column, sizes)


def score(of: list[Agreement]) -> Score:
    """Scores over images."""
    particles, boxes, matched = (sum(getattr(a, k) for a in of) for k in ("particles", "boxes", "matched"))
    precision, recall = matched / max(particles, 1), matched / max(boxes, 1)
    sizes = np.concatenate([a.log_sizes for a in of]) if of else np.empty((0, 2))
    return Score(
        precision,
        recall,
        2 * precision * recall / max(precision + recall, 1e-12),
        float(np.mean([a.count_error for a in of])) if of else 0.0,
        abs(particles - boxes) / max(boxes, 1),
        float(np.corrcoef(sizes.T)[0, 1]) if len(sizes) > 2 else float("nan"),
    )


def read_boxes(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Boxes (b, 4) x0, y0, x1, y1 [px] from lines ``class x y width height`` in shares of an image of ``shape``.

    Pixel centres lie at whole numbers, so that the image spans -0.5 to its side - 0.5.
    Raises MicrotomoError for other lines.
    """
    try:
        values = np.array([line.split()[1:5] for line in text.splitlines() if line.strip()], dtype=float).reshape(-1, 4)
    except ValueError:
        raise MicrotomoError("a box is a line `class x y width height` of numbers: mend the others") from None
    high, wide = shape
    values = values * np.array([wide, high, wide, high])
    return np.concatenate([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2], axis=1) - 0.5
