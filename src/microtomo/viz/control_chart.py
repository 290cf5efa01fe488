"""Values of many images: how they are distributed, and whether they stay within their control limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

_LIMITS = 2.66
"""Three deviations over the mean moving range of two: 3 / 1.128 (Montgomery, Statistical Quality Control, 6.4)."""

_TICKS = 12  # dates that fit side by side


@styled
def histogram_figure(values: Sequence[float], title: str) -> Figure:
    """Number of images by value, with the mean."""
    figure = new_figure(7.6, 3.2)
    axes = figure.subplots()
    axes.hist(values, bins="auto", color=colours.PALETTE[2], edgecolor="white")
    mean = float(np.mean(values))
    axes.axvline(mean, color=colours.INK, linestyle="--", label=f"mean {mean:.4g} of {len(values)}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=title, ylabel="images")
    axes.legend()
    return figure


def control_limits(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower limit, mean and upper limit of single values in the order of their dates, from their moving range.

    Without two values there is no range, and the limits are NaN.
    """
    mean = float(np.mean(values))
    reach = _LIMITS * float(np.abs(np.diff(values)).mean()) if len(values) > 1 else float("nan")
    return mean - reach, mean, mean + reach


@styled
def control_figure(
    values: Sequence[float], low: Sequence[float], high: Sequence[float], dates: Sequence[date], title: str
) -> Figure:
    """Values with their intervals in the order of their dates, mean and control limits; what lies beyond is marked."""
    order = sorted(range(len(values)), key=lambda k: dates[k])  # of one date in the order given
    value, below, above = (np.array([each[k] for k in order]) for each in (values, low, high))
    least, mean, most = control_limits(value.tolist())
    figure = new_figure(7.6, 3.4)
    axes = figure.subplots()
    place = np.arange(len(value))
    bars = np.stack([np.maximum(value - below, 0), np.maximum(above - value, 0)])
    axes.errorbar(place, value, bars, fmt="o", color=colours.PALETTE[5], ecolor=colours.GREY, label="image, 95 %")
    axes.axhline(mean, color=colours.INK, linewidth=1, label=f"mean {mean:.4g}")
    if np.isfinite(least):
        axes.axhline(least, color=colours.PALETTE[4], linestyle="--", linewidth=1)
        axes.axhline(most, color=colours.PALETTE[4], linestyle="--", linewidth=1, label="control limits")
        out = (value < least) | (value > most)
        if out.any():
            axes.plot(place[out], value[out], "o", color=colours.PALETTE[4], label="beyond them")
    days = [dates[k] for k in order]
    firsts = [k for k in range(len(days)) if k == 0 or days[k] != days[k - 1]]
    for first in firsts[1:]:
        axes.axvline(first - 0.5, color=colours.FAINT, linewidth=0.5, alpha=0.5)
    ticks = firsts[:: -(-len(firsts) // _TICKS)]
    axes.set_xticks(ticks, [days[k].isoformat() for k in ticks], rotation=30, ha="right")
    axes.set(xlabel="date", ylabel=title)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure
