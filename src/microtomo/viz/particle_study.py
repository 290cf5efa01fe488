"""Figures that compare networks for nanoparticles on labelled tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microtomo.viz.colours import FAINT, INK, METHOD_COLOURS
from microtomo.viz.figures import new_figure, styled

Bands = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Precision, recall and F1, (images, thresholds) each."""


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each network."""
    return {name: METHOD_COLOURS[k % len(METHOD_COLOURS)] for k, name in enumerate(names)}


@styled
def threshold_figure(
    thresholds: np.ndarray, bands: Mapping[str, Bands], otsu: Mapping[str, float], chosen: float
) -> Figure:
    """Precision, recall and F1 against the threshold: means over images with bands of a standard deviation; the chosen
    threshold is a line, the mean of Otsu's a dot on each curve."""
    figure = new_figure(10.6, 3.7)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, what, title in zip(axes, range(3), ("precision", "recall", "F1"), strict=True):
        for name, colour in colours(list(bands)).items():
            mean, spread = bands[name][what].mean(0), bands[name][what].std(0)
            low, high = np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
            axis.fill_between(thresholds, low, high, color=colour, alpha=0.15, lw=0)
            axis.plot(thresholds, mean, color=colour, label=name if what == 0 else None)
            axis.plot(otsu[name], np.interp(otsu[name], thresholds, mean), "o", color=colour, ms=5)
        axis.axvline(chosen, color=FAINT, lw=0.9, ls="--")
        axis.set(title=title, xlabel="threshold", xlim=(thresholds[0], thresholds[-1]))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(5, len(bands)), frameon=False)
    return figure


@styled
def profile_figure(
    crops: Sequence[tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray], str]],
) -> Figure:
    """Rows of particles: the image with a line through the middle, and along it image, label and networks' answers.

    A crop is (image, label, answers by network, title), all (y, x) of one shape.
    """
    figure = new_figure(10.2, 2.5 * len(crops))
    axes = figure.subplots(len(crops), 2, squeeze=False, width_ratios=(1, 2.7))
    for (left, right), (image, label, given, title) in zip(axes, crops, strict=True):
        middle = image.shape[0] // 2
        left.imshow(image, cmap="gray")
        left.axhline(middle, color=METHOD_COLOURS[1], lw=1)
        left.axis("off")
        left.set_title(title, fontsize=9)
        x = np.arange(image.shape[1])
        line = image[middle].astype(float)
        grey = (line - image.min()) / max(float(np.ptp(image)), 1e-9)
        right.plot(x, grey, color=FAINT, lw=0.9, label="image")
        right.fill_between(x, 0, label[middle] > 0, color=FAINT, alpha=0.2, lw=0, step="mid", label="label")
        for name, colour in colours(list(given)).items():
            right.plot(x, given[name][middle], color=colour, lw=1.3, label=name)
        right.set(xlim=(0, len(x) - 1), ylim=(-0.02, 1.04), ylabel="probability")
        right.spines[["top", "right"]].set_visible(False)
    axes[-1][1].set_xlabel("along the line [px]")
    handles, labels = axes[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


@styled
def contour_figure(
    tiles: Sequence[tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray], str]], threshold: float
) -> Figure:
    """Tiles with the given outline (dotted) and each network's at the threshold."""
    figure = new_figure(5.2 * len(tiles), 5.6)
    axes = figure.subplots(1, len(tiles), squeeze=False)[0]
    names: dict[str, str] = {}
    for axis, (image, label, given, title) in zip(axes, tiles, strict=True):
        axis.imshow(image, cmap="gray")
        names = colours(list(given))
        for name, colour in names.items():
            _contour(axis, given[name], threshold, colour, 1.1)
        _contour(axis, (np.asarray(label) > 0).astype(float), 0.5, "white", 0.9, "dotted")
        axis.set_title(title)
        axis.axis("off")
    for name, colour in names.items():
        axes[0].plot([], [], color=colour, label=name)
    axes[0].plot([], [], color=INK, ls="dotted", label="label (white, dotted)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _contour(axis: Axes, values: np.ndarray, level: float, colour: str, width: float, style: str = "solid") -> None:
    if values.min() < level < values.max():
        axis.contour(values, levels=[level], colors=[colour], linewidths=width, linestyles=style)


@styled
def centre_figure(diameters: np.ndarray, inside: Mapping[str, np.ndarray]) -> Figure:
    """How sure networks are inside the inner half of particles, against the diameter: medians and quartiles of equally
    many particles."""
    figure = new_figure(6.4, 4.0)
    axis = figure.subplots()
    bins = np.array_split(np.arange(len(diameters)), max(1, min(8, len(diameters) // 4)))
    middle = [float(np.median(diameters[b])) for b in bins]
    for name, colour in colours(list(inside)).items():
        low, mid, high = np.array([np.percentile(inside[name][b], (25, 50, 75)) for b in bins]).T
        axis.fill_between(middle, low, high, color=colour, alpha=0.15, lw=0)
        axis.plot(middle, mid, "o-", ms=3.5, color=colour, label=name)
    axis.set(xlabel="diameter [px]", ylabel="mean probability in the inner half", ylim=(0, 1.03))
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


@styled
def run_figure(f1: Mapping[str, Sequence[float]]) -> Figure:
    """F1 of every training of each network, one dot a run."""
    figure = new_figure(6.4, 0.9 + 0.42 * len(f1))
    axis = figure.subplots()
    for k, (name, colour) in enumerate(colours(list(f1)).items()):
        axis.plot(f1[name], [k] * len(f1[name]), "o", color=colour, alpha=0.75)
    axis.set_yticks(range(len(f1)), list(f1))
    axis.set(xlabel="F1, all held-out pixels pooled", ylim=(len(f1) - 0.5, -0.5))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
