"""Picture of how lengths are distributed: histogram, mean, median and the log-normal fit."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from microtomo.tem.particles.statistics import SizeDistribution
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

_POINTS = 300  # of the curve


@styled
def distribution_figure(sizes: SizeDistribution, name: str, unit: str, what: str, title: str = "") -> Figure:
    """Histogram of the lengths ``name`` in ``unit`` of ``what``, with mean, median and the log-normal fit marked."""
    figure = new_figure(7.2, 4.2, title)
    axes = figure.subplots()
    edges, counts = sizes.edges, sizes.counts
    axes.stairs(counts, edges, fill=True, color=colours.METHOD_COLOURS[0], alpha=0.35)
    axes.stairs(counts, edges, color=colours.METHOD_COLOURS[0], linewidth=0.9)
    low, high = float(edges[0]), float(edges[-1])
    if sizes.geometric_deviation > 1:
        x = np.linspace(max(low / 2, 1e-9), high, _POINTS)
        per_bin = sizes.number * float(edges[1] - edges[0])
        words = f"log-normal: {sizes.geometric_mean:.3g} {unit} ×/÷ {sizes.geometric_deviation:.2f}"
        axes.plot(x, per_bin * sizes.density(x), color=colours.INK, linewidth=1.3, label=words)
    for value, style, words in ((sizes.mean, "-", "mean"), (sizes.median, "--", "median")):
        label = f"{words}: {value:.3g} {unit}"
        axes.axvline(value, color=colours.METHOD_COLOURS[1], linestyle=style, linewidth=1.2, label=label)
    axes.set(xlim=(min(low, low / 2), high * 1.02), xlabel=f"{name} [{unit}]", ylabel="number in the bin")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{sizes.number} {what}")
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
