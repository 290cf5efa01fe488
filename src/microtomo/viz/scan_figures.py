"""Figures of a scan and of its reconstructions: images, thickness, standard deviation, fit, section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.scan import Status
from microtomo.viz import colours
from microtomo.viz.figures import array, image_row, label_edges, lateral, new_figure, styled


@styled
def thickness_figure(
    maps: Mapping[str, Any], stack: Stack, *, truth: Any = None, pixel_nm: float = 10.0, title: str = ""
) -> Figure:
    """Thickness maps: a row a layer (top layer first), columns truth and each method; below each map its error.

    ``maps`` are thickness maps (l, y, x) [nm] by method. A layer's maps share one scale, its errors another,
    symmetric about 0 and cut at the 99.5th percentile. Raises MicrotomoError for maps that do not fit the stack.
    """
    arrays = {name: _maps(name, m, stack) for name, m in maps.items()}
    true = None if truth is None else _maps("truth", truth, stack)
    shown = ({} if true is None else {"truth": true}) | arrays
    errors = {} if true is None else {name: m - true for name, m in arrays.items()}
    columns, layers, rows = len(shown), len(stack.layers), 2 if errors else 1
    figure = new_figure(1.6 + 2.3 * columns, 0.5 + 2.25 * layers * rows, title, layout="compressed")
    axes = figure.subplots(layers * rows, columns, squeeze=False, sharex=True, sharey=True)
    extent, unit = lateral(pixel_nm, next(iter(shown.values())).shape)
    for row, k in enumerate(reversed(range(layers))):
        symbol = stack.symbols[k]
        top = (
            _top([m[k] for m in shown.values()])
            if true is None or not (true[k] > 0).any()
            else float(np.nanmax(true[k]))
        )
        image_row(figure, axes[rows * row], [(f"{symbol}: {n}", m[k]) for n, m in shown.items()], extent,
                  colours.THICKNESS_MAP, (0.0, max(top, 1e-3)), f"{symbol} thickness [nm]")  # fmt: skip
        if errors:
            limit = max(
                max(float(np.nanpercentile(np.abs(e[k]), 99.5)) for e in errors.values()), 0.01 * stack.max_nm[k]
            )
            images = [(f"error, rmse {_short(np.sqrt(np.nanmean(e[k] ** 2)))} nm", e[k]) for e in errors.values()]
            axes[rows * row + 1, 0].remove()
            image_row(figure, axes[rows * row + 1, 1:], images, extent,
                      colours.ERROR_MAP, (-limit, limit), f"{symbol}: estimate − true [nm]")  # fmt: skip
    label_edges(axes, unit)
    return figure


def _top(images: Sequence[np.ndarray]) -> float:
    """The largest value, unless single pixels stand far above all others."""
    top, usual = max(float(np.nanmax(m)) for m in images), max(float(np.nanpercentile(m, 99.9)) for m in images)
    return top if top <= 1.3 * usual else max(usual, 0.2 * top)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.1g}"


@styled
def uncertainty_figure(maps: Mapping[str, Any], stack: Stack, *, pixel_nm: float = 10.0, title: str = "") -> Figure:
    """One standard deviation (l, y, x) [nm] by method: a row a layer (top layer first), a column a method."""
    arrays = {name: _maps(name, m, stack) for name, m in maps.items()}
    layers = len(stack.layers)
    figure = new_figure(1.6 + 2.3 * len(arrays), 0.5 + 2.25 * layers, title, layout="compressed")
    axes = figure.subplots(layers, len(arrays), squeeze=False, sharex=True, sharey=True)
    extent, unit = lateral(pixel_nm, next(iter(arrays.values())).shape)
    for row, k in enumerate(reversed(range(layers))):
        top = max(max(float(np.nanpercentile(m[k], 99)) for m in arrays.values()), 1e-3)
        image_row(figure, axes[row], [(f"{stack.symbols[k]}: {n}", m[k]) for n, m in arrays.items()], extent,
                  colours.UNCERTAINTY_MAP, (0.0, top), f"{stack.symbols[k]} standard deviation [nm]")  # fmt: skip
    label_edges(axes, unit)
    return figure


@styled
def fit_figure(chi_square: Any, status: Any, *, pixel_nm: float = 10.0, title: str = "") -> Figure:
    """Chi-square per pixel (about 1 for a good fit) and the status of each pixel with its share."""
    chi, codes = array(chi_square), array(status).astype(int)
    chi = np.where(np.isfinite(chi), chi, np.nan) if np.isfinite(chi).any() else np.zeros_like(chi)
    figure = new_figure(9.2, 4.0, title, layout="compressed")
    axes = figure.subplots(1, 2, squeeze=False, sharex=True, sharey=True)
    extent, unit = lateral(pixel_nm, chi.shape)
    top = max(2.0, float(np.nanpercentile(chi, 99.5)))
    picture = axes[0, 0].imshow(
        chi, cmap=colours.THICKNESS_MAP, vmin=0, vmax=top, extent=extent, interpolation="nearest"
    )
    axes[0, 0].set_title(f"chi-square per energy, mean {np.nanmean(chi):.2f}")
    figure.colorbar(picture, ax=axes[0, 0], extend="max" if np.nanmax(chi) > top else "neither").set_label("chi-square")
    axes[0, 1].imshow(
        codes, cmap=ListedColormap(colours.STATUS_COLOURS), vmin=-0.5, vmax=len(Status) - 0.5, extent=extent,
        interpolation="nearest",
    )  # fmt: skip
    axes[0, 1].set_title("status")
    there = [s for s in Status if s != Status.MASKED or (codes == s).any()]
    names = [f"{s.name.lower().replace('_', ' ')} {(codes == s).mean():.1%}" for s in there]
    patches = [Patch(facecolor=colours.STATUS_COLOURS[s], edgecolor="#999") for s in there]
    axes[0, 1].legend(patches, names, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, frameon=False)
    label_edges(axes, unit)
    return figure


@styled
def scan_figure(
    data: Any, energies_kev: Sequence[float], *, pixel_nm: float = 10.0, title: str = "", panels: int = 4
) -> Figure:
    """Images of a scan (e, y, x) at a few energies from first to last on one grey scale, signal over substrate."""
    signal = array(data)
    chosen = sorted({round(i) - 1 for i in np.geomspace(1, len(signal), min(panels, len(signal)))})
    figure = new_figure(1.6 + 2.5 * len(chosen), 3.3, title, layout="compressed")
    axes = figure.subplots(1, len(chosen), squeeze=False, sharex=True, sharey=True)
    extent, unit = lateral(pixel_nm, signal.shape)
    low, high = (float(v) for v in np.nanpercentile(signal[chosen], (0.1, 99.9)))
    images = [(f"{energies_kev[e]:g} keV", signal[e]) for e in chosen]
    image_row(
        figure, axes[0], images, extent, colours.SIGNAL_MAP, (low, max(high, low + 1e-3)), "signal over substrate"
    )
    label_edges(axes, unit)
    return figure


@styled
def section_figure(
    volumes: Mapping[str, Any],
    stack: Stack,
    row: int,
    *,
    voxel_nm: float = 10.0,
    pixel_nm: float = 10.0,
    title: str = "",
) -> Figure:
    """Cross-sections of labelled volumes (z, y, x) at one image row: x against z in nm, in the materials' colours."""
    first = next(iter(volumes.values()))
    if not 0 <= row < first.shape[-2]:
        raise MicrotomoError(f"row {row} is outside the image: it has rows 0..{first.shape[-2] - 1}")
    ground, layer_colours = colours.stack_colours(stack)
    top = max(int(np.nonzero(array(v)[:, row].any(-1))[0].max(initial=0)) for v in volumes.values()) + 2
    figure = new_figure(8.5, 0.9 + 1.35 * len(volumes), title)
    axes = figure.subplots(len(volumes), 1, squeeze=False, sharex=True)[:, 0]
    extent, unit = lateral(pixel_nm, first.shape)
    for axis, (name, volume) in zip(axes, volumes.items(), strict=True):
        labels = array(volume)[:top, row].astype(int)
        axis.imshow(
            labels, origin="lower", aspect="auto", extent=[0, extent[1], 0, len(labels) * voxel_nm],
            cmap=ListedColormap(["white", *layer_colours]), vmin=-0.5, vmax=len(layer_colours) + 0.5,
            interpolation="nearest",
        )  # fmt: skip
        axis.axhspan(-0.12 * len(labels) * voxel_nm, 0, color=ground, linewidth=0)
        axis.set_ylim(-0.12 * len(labels) * voxel_nm, len(labels) * voxel_nm)
        axis.set_ylabel("z [nm]")
        axis.set_title(f"{name}, row {row}", loc="left")
    axes[-1].set_xlabel(f"x [{unit}]")
    names = [*reversed(stack.symbols), f"{stack.substrate.symbol} substrate"]
    patches = [Patch(color=c) for c in [*reversed(layer_colours), ground]]
    figure.legend(patches, names, loc="outside right upper", frameon=False)
    return figure


def _maps(name: str, maps: Any, stack: Stack) -> np.ndarray:
    """Maps (l, y, x) as an array, NaN where there is no finite value."""
    values = array(maps)
    if values.ndim != 3 or len(values) != len(stack.layers):
        raise MicrotomoError(
            f"{name} has shape {values.shape}; maps of stack {stack.name} are ({len(stack.layers)}, y, x)"
        )
    finite = np.isfinite(values)
    if not finite.any((1, 2)).all():
        raise MicrotomoError(f"{name} has no finite value in a layer: nothing can be drawn")
    return np.where(finite, values, np.nan)
