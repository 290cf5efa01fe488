"""Figures of the paper: masks over images, regressions, thickness by date, outliers and failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microtomo.registry import get_task
from microtomo.reproduce.overcoat.jobs import Record
from microtomo.reproduce.overcoat.tables import Regression
from microtomo.tem.layers.synthetic import Overcoat
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled
from microtomo.viz.micrographs import errors, grey, overlay

DATES = ("#0072B2", "#E69F00", "#009E73")
"""Colours of the three dates, that is, of the three compositions of the overcoat."""


@styled
def masks_figure(samples: Sequence[Overcoat], masks: Sequence[np.ndarray], notes: Sequence[str]) -> Figure:
    """A column an image: the image, the true layer, the predicted one, and its errors."""
    count = len(samples)
    figure = new_figure(2.3 * max(count, 2) + 0.4, 9.6, layout="compressed")
    axes = figure.subplots(4, count, squeeze=False)
    classes = get_task("layer").classes
    for k, (sample, mask, note) in enumerate(zip(samples, masks, notes, strict=True)):
        pictures = (
            np.repeat(grey(sample.image)[..., None], 3, 2),
            overlay(sample.image, sample.mask.astype(np.uint8), classes),
            overlay(sample.image, mask.astype(np.uint8), classes),
            errors(mask.astype(np.uint8), sample.mask.astype(np.uint8)),
        )
        for row, (picture, title) in enumerate(zip(pictures, (note, "", "", ""), strict=True)):
            axes[row, k].imshow(picture)
            axes[row, k].set(xticks=[], yticks=[])
            axes[row, k].set_title(title, fontsize=8)
    for row, name in enumerate(("synthetic image", "true layer", "predicted", "errors")):
        axes[row, 0].set_ylabel(name)
    return figure


@styled
def regression_figure(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray, Regression]], dates: Sequence[int], y_name: str
) -> Figure:
    """A panel a regression: points by date, y = x dashed, the line, outliers ringed."""
    figure = new_figure(4.6 * len(panels), 4.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (x_name, (x, y, line)) in zip(axes, panels.items(), strict=True):
        _points(axis, x, y, dates)
        ends = np.array([0, 1.05 * max(x.max(), y.max())])
        axis.plot(ends, ends, "--", color=colours.GREY, linewidth=1, label="y = x")
        words = f"slope {line.slope:.3f}, MSE {line.mse:.4f} nm²"
        axis.plot(ends, line.slope * ends + line.offset, color=colours.INK, linewidth=1, label=words)
        if line.outliers.any():
            far = line.outliers
            axis.plot(x[far], y[far], "o", mfc="none", mec=colours.PALETTE[4], ms=10, label=f"{far.sum()} outliers")
        axis.set(xlabel=f"{x_name} [nm]", ylabel=f"{y_name} [nm]", xlim=ends, ylim=ends, aspect="equal")
        axis.legend(loc="lower right", fontsize=7.5)
    return figure


@styled
def dates_figure(records: Sequence[Record], samples: Mapping[int, Overcoat]) -> Figure:
    """Predicted mean and deviation of each image over the exact mean, by date."""
    figure = new_figure(9.0, 3.8)
    axes = figure.subplots(1, 3, sharey=True, sharex=True)
    for date, axis in enumerate(axes):
        chosen = [r for r in records if samples[r.index].date == date and np.isfinite(r.mean)]
        true = [samples[r.index].mean_nm for r in chosen]
        axis.errorbar(
            true, [r.mean for r in chosen], [r.sd for r in chosen], fmt="o", ms=4, color=DATES[date], ecolor="#BBBBBB"
        )
        axis.axline((0, 0), slope=1, color=colours.GREY, linestyle="--", linewidth=1)
        axis.set(title=f"date {date + 1}: {len(chosen)} images", xlabel="exact mean [nm]")
    axes[0].set(ylabel="predicted mean ± deviation [nm]", xlim=(0, 6), ylim=(0, None))
    return figure


def _points(axis: Axes, x: np.ndarray, y: np.ndarray, dates: Sequence[int]) -> None:
    of = np.asarray(dates)
    for date, colour in enumerate(DATES):
        if (of == date).any():
            axis.plot(x[of == date], y[of == date], "o", ms=4, color=colour, alpha=0.8, label=f"date {date + 1}")
