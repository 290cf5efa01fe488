"""Tables 1 and 2 of the paper, its figures beside ours, and the lines of figures 9 and 12."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from microtomo.report.page import Cell, Table
from microtomo.reproduce.overcoat import published
from microtomo.reproduce.overcoat.jobs import Record
from microtomo.tem.layers.synthetic import Overcoat

MARK = "▼"
"""Beside a figure of ours that is worse than the published one, for those who do not see the red."""
_OUTLIER = 4.0  # robust deviations from the regression line beyond which a point is one

Results = Mapping[str, Sequence[Record]]
"""Records of the held-out images of all folds, by network."""


def segmentation(results: Results) -> Table:
    """Table 1: IoU and Dice of the layer, means over images, with and without post-processing."""
    header = ["network", "IoU", "Dice", "IoU, post", "Dice, post", "images with a thickness"]
    rows: list[list[Cell | str]] = []
    grey = []
    for name, records in results.items():
        theirs: tuple[float, ...] = ()
        if name in published.SEGMENTATION:
            title, *plain = published.SEGMENTATION[name]
            theirs = (*plain, *published.PROCESSED.get(name, ()))
            grey.append(len(rows))
            rows.append([f"{title}, paper", *_padded([f"{v:.2f}" for v in theirs], 5)])
        columns = ("iou", "dice", "iou_processed", "dice_processed")
        ours = [float(np.mean([getattr(r, c) for r in records])) for c in columns]
        cells = [_cell(f"{v:.3f}", k < len(theirs) and round(v, 2) < theirs[k]) for k, v in enumerate(ours)]
        measured = sum(r.status == "ok" for r in records)
        rows.append([f"{name}, ours", *cells, f"{measured} of {len(records)}"])
    return Table(header, rows, published=grey)


def thickness(results: Results, samples: Mapping[int, Overcoat]) -> Table:
    """Table 2: mean squared error of the mean thickness, and of its deviation, against the exact ones."""
    header = ["thickness by", "MSE of the mean [nm²]", "median error [nm]", "MSE of the deviation [nm²]", "images"]
    rows: list[list[Cell | str]] = []
    grey = []
    for name, records in {"three lines": three_lines(samples), **results}.items():
        theirs = published.THICKNESS.get(name)
        if theirs is not None:
            grey.append(len(rows))
            rows.append([f"{theirs[0]}, paper", *_padded([f"{theirs[1]:.4f}"], 4)])
        pairs = [(r, samples[r.index]) for r in records if not isnan(r.mean)]
        if not pairs:
            rows.append([_named(name), *_padded(["none"], 3), f"0 of {len(records)}"])
            continue
        error = np.array([r.mean - s.mean_nm for r, s in pairs])
        deviation = float(np.mean([(r.sd - s.sd_nm) ** 2 for r, s in pairs]))
        mse = float(np.mean(error**2))
        worse = theirs is not None and round(mse, 4) > theirs[1]
        rows.append([
            _named(name), _cell(f"{mse:.4f}", worse), f"{np.median(np.abs(error)):.3f}",
            "" if isnan(deviation) else f"{deviation:.4f}", f"{len(pairs)} of {len(records)}",
        ])  # fmt: skip
    return Table(header, rows, published=grey)


def three_lines(samples: Mapping[int, Overcoat]) -> list[Record]:
    """Three lines along the rows of the exact layer, as measured by hand; their deviation is not theirs to give."""
    return [Record(index, sample.three_line_nm, float("nan")) for index, sample in samples.items()]


@dataclass(frozen=True)
class Regression:
    """A line y = ``slope`` x + ``offset`` through points, their mean squared distance from y = x, and which of them
    (k,) are outliers of the line."""

    slope: float
    offset: float
    mse: float
    outliers: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Regression:
        """By least squares; outliers lie off the median of the residuals by four robust deviations."""
        slope, offset = np.polyfit(x, y, 1)
        rest = y - slope * x - offset
        rest = np.abs(rest - np.median(rest))
        return cls(
            float(slope), float(offset), float(np.mean((y - x) ** 2)), rest > _OUTLIER * 1.4826 * np.median(rest)
        )


def lines(rows: Mapping[str, Regression]) -> Table:
    """Slope, offset, mean squared error and outliers of regressions."""
    header = ["regression", "slope", "offset [nm]", "MSE [nm²]", "outliers"]
    shown = [
        [name, f"{r.slope:.3f}", f"{r.offset:+.3f}", f"{r.mse:.4f}", str(int(r.outliers.sum()))]
        for name, r in rows.items()
    ]
    return Table(header, shown)


def worse(tables: Mapping[str, Table]) -> list[str]:
    """Which of our figures are worse than the published ones, a line a row of a table."""
    found = []
    for title, table in tables.items():
        for row in table.rows:
            named = zip(table.header, row, strict=True)
            columns = [column for column, cell in named if isinstance(cell, Cell) and cell.worse]
            if columns:
                found.append(f"{title}: {str(row[0]).removesuffix(', ours')} ({', '.join(columns)})")
    return found


def _named(name: str) -> str:
    if name == "three lines":
        return "three lines on the exact layer, ours"
    return f"{name}, ours" if name in published.THICKNESS else f"orthogonal lines, {name}, ours"


def _cell(text: str, is_worse: bool) -> Cell | str:
    return Cell(f"{MARK} {text}", worse=True) if is_worse else text


def _padded(cells: Sequence[str], count: int) -> list[str]:
    return [*cells, *[""] * (count - len(cells))]
