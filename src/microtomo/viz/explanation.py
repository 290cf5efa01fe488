"""Figures of what a network looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microtomo.models.explain.attribution import Attribution
from microtomo.models.explain.kernels import KernelFit
from microtomo.models.explain.layers import FeatureSpace, ReceptiveField
from microtomo.viz.colours import FAINT, METHOD_COLOURS, PALETTE
from microtomo.viz.figures import new_figure, styled

_ACROSS = 8  # kernels beside each other
_MOST_KERNELS = 16  # drawn with their fits


@styled
def kernel_figure(fits: Sequence[KernelFit]) -> Figure:
    """Kernels, each above its fit, both on the scale of the kernel."""
    shown = fits[:_MOST_KERNELS]
    rows, columns = -(-len(shown) // _ACROSS), min(_ACROSS, len(shown))
    figure = new_figure(0.4 + 1.28 * columns, 3.15 * rows)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for k, fit in enumerate(shown):
        row, column = divmod(k, columns)
        top = float(np.abs(fit.kernel).max()) or 1.0
        for below, (values, words) in enumerate(
            ((fit.kernel, f"kernel {k + 1}"), (fit.fitted, f"{fit.words}\n{fit.explained:.0%}"))
        ):
            axis = axes[2 * row + below, column]
            axis.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top)
            axis.set_title(words, fontsize=7.5, pad=3)
    return figure


@styled
def activation_figure(maps: Mapping[str, np.ndarray]) -> Figure:
    """Channels (c, y, x) of each layer, a row a layer, each on its own scale of grey."""
    columns = max(len(channels) for channels in maps.values())
    figure = new_figure(0.3 + 1.75 * columns, 1.95 * len(maps))
    axes = figure.subplots(len(maps), columns, squeeze=False)
    for row, (name, channels) in zip(axes, maps.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, channel in zip(row, channels, strict=False):
            low, high = np.percentile(channel, (1, 99))
            axis.imshow(channel, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        row[0].set_title(f"{name}, {channels.shape[-2]} x {channels.shape[-1]}", loc="left", fontsize=8.5)
    return figure


@styled
def attribution_figure(image: np.ndarray, inside: np.ndarray, found: Sequence[Attribution]) -> Figure:
    """The image with the outline of what is explained, and over it what counts by each kind of map."""
    figure = new_figure(0.3 + 3.0 * (len(found) + 1), 3.35)
    axes = figure.subplots(1, len(found) + 1, squeeze=False)[0]
    low, high = np.percentile(image, (0.5, 99.5))
    for axis in axes:
        axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        axis.axis("off")
    outlined(axes[0], inside)
    axes[0].set_title("explained: inside the lines")
    for axis, one in zip(axes[1:], found, strict=True):
        top = float(np.percentile(one.map, 99.5)) or 1.0
        axis.imshow(one.map, cmap="inferno", vmin=0, vmax=top, alpha=0.65)
        axis.set_title(one.kind, fontsize=9)
    return figure


def outlined(axis: Axes, mask: np.ndarray, colour: str = PALETTE[0], width: float = 0.9) -> None:
    """Draw the outline of a mask (y, x)."""
    if mask.any() and not mask.all():
        axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=width)


@styled
def deletion_figure(found: Sequence[Attribution]) -> Figure:
    """How the score falls as pixels are deleted, by each map and by chance."""
    figure = new_figure(5.0, 3.9)
    axis = figure.subplots()
    for k, one in enumerate(found):
        axis.plot(100 * one.deletion.shares, one.deletion.scores, "o-", ms=3, color=METHOD_COLOURS[k], label=one.kind)
    if found:
        axis.plot(100 * found[0].deletion.shares, found[0].deletion.chance, "--", color=FAINT, label="by chance")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axis.axhline(0, color=FAINT, lw=0.6)
    axis.set(xlabel="most decisive pixels deleted [%]", ylabel="mean score of the class (log-odds)")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


@styled
def receptive_figure(field: ReceptiveField) -> Figure:
    """The mean gradient around a pixel, on a logarithmic scale, with the square that holds most of it."""
    figure = new_figure(5.0, 3.9)
    axis = figure.subplots()
    half = field.map.shape[0] // 2
    relative = np.log10(np.maximum(field.map / max(float(field.map.max()), 1e-30), 1e-4))
    extent = (-half - 0.5, half + 0.5, half + 0.5, -half - 0.5)
    shown = axis.imshow(relative, cmap="viridis", vmin=-4, vmax=0, extent=extent)
    side = field.side_px / 2
    axis.plot([-side, side, side, -side, -side], [-side, -side, side, side, -side], color=PALETTE[4], lw=1.2)
    axis.set(xlabel="x [px]", ylabel="y [px]")
    figure.colorbar(shown, ax=axis, label="log10 of the relative gradient", shrink=0.85)
    return figure


@styled
def feature_figure(space: FeatureSpace, name: str) -> Figure:
    """Pixels in the plane of features, coloured by class, and by error or by how sure the network is."""
    figure = new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for inside, colour, words in ((False, FAINT, "elsewhere"), (True, PALETTE[0], name)):
        chosen = space.places[space.inside == inside]
        left.plot(*chosen.T, ".", ms=2.5, color=colour, label=f"{words} ({len(chosen)})", alpha=0.7)
    left.set_title("by the class that the network finds")
    left.legend(frameon=False, markerscale=4)
    if space.wrong is None:
        shown = right.scatter(*space.places.T, s=3, c=space.probability, cmap="cividis", vmin=0, vmax=1)
        figure.colorbar(shown, ax=right, label=f"probability of {name}")
        right.set_title("by how sure it is")
    else:
        kinds = (("right", FAINT, ~space.wrong), ("found in error", PALETTE[4], space.wrong & space.inside))
        for words, colour, which in (*kinds, ("missed", PALETTE[5], space.wrong & ~space.inside)):
            right.plot(*space.places[which].T, ".", ms=2.5, color=colour, label=f"{words} ({which.sum()})", alpha=0.8)
        right.set_title("by error")
        right.legend(frameon=False, markerscale=4)
    for axis in (left, right):
        axis.set(xlabel=f"first component ({space.explained[0]:.0%})")
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel(f"second component ({space.explained[1]:.0%})")
    return figure
