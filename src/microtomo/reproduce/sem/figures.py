"""Figures that the report has not, and their numbers: stability against noise, error over the bound of one pixel, error
by thickness, and what quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from microtomo.materials import Stack, load_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.physics.information import fisher_information, precision_nm
from microtomo.reproduce.sem import published
from microtomo.reproduce.sem.chart import levels_nm
from microtomo.reproduce.sem.cost import Cost
from microtomo.reproduce.sem.plan import NOISE, REPORTED
from microtomo.reproduce.sem.reconstructions import STACK, Statistics
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

_SIDES = (
    (1, 0, "left", "center"), (-1, 0, "right", "center"), (0, -1, "center", "top"), (0, 1, "center", "bottom"),
    (0.3, -1, "left", "top"), (0.3, 1, "left", "bottom"), (-0.3, -1, "right", "top"), (-0.3, 1, "right", "bottom"),
)  # fmt: skip
_SHARES = (10, 50, 90)  # percentiles of the pairs
Sweep = Mapping[str, Mapping[float, Statistics]]
"""Results by method and relative noise."""
MAPPED = ("tikhonov", "likelihood", "unet", "uvnet", "map")
"""Methods whose error is shown as a map."""


@styled
def noise_figure(sweeps: Mapping[str, Sweep]) -> Figure:
    """Mean IoU against noise: a panel a contrast, a line a method, the report's figures as crosses."""
    figure = new_figure(5.2 * len(sweeps), 4.4)
    axes = figure.subplots(1, len(sweeps), squeeze=False, sharey=True)[0]
    handles = {}
    for axis, (forward, methods) in zip(axes, sweeps.items(), strict=True):
        for method, levels in methods.items():
            colour, marker = colours.method_style(method)
            noise = [100 * level for level in sorted(levels)]
            ordered = [levels[level] for level in sorted(levels)]
            score = np.array([m.scores.miou for m in ordered])
            error = np.array([m.standard_error for m in ordered])
            handles[method] = axis.errorbar(
                noise, score, np.nan_to_num(error), color=colour, marker=marker, markersize=6, capsize=2,
                linewidth=2.4 if method == "map" else 1.5, zorder=3 if method == "map" else 2,
            )  # fmt: skip
        if forward == REPORTED:
            theirs = [scores[0] for scores in published.TEST.values()]
            handles["report, 2 %"] = axis.scatter(
                [100 * NOISE] * len(theirs), theirs, marker="_", s=180, color=colours.INK, zorder=4
            )
        axis.set(xlabel="noise [%]", title=f"{forward} contrast")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean IoU")
    axes[0].set_ylim(top=1.01)

    def last(method: str) -> float:
        levels = next((methods[method] for methods in reversed(list(sweeps.values())) if method in methods), {})
        return levels[max(levels)].scores.miou if levels else -1.0

    ranked = sorted(handles, key=last, reverse=True)  # as the lines end at the right
    figure.legend([handles[m] for m in ranked], ranked, loc="outside right center", frameon=False)
    return figure


def bound_nm(stack: Stack, contrast: str) -> np.ndarray:
    """Cramer-Rao bound (l, Au, Al) [nm] of one pixel for each pair of a chart, joined to the range of each layer."""
    levels = levels_nm(stack)
    pairs = torch.stack(torch.meshgrid(levels[0], levels[1], indexing="ij"))
    fisher = fisher_information(pairs.flatten(1), forward_model(contrast, stack), detector=Detector(noise=NOISE))
    return np.asarray(precision_nm(fisher, stack, within_range=True).reshape(pairs.shape).numpy())


def ratios(statistics: Statistics, stack: Stack, contrast: str) -> np.ndarray:
    """Thickness error over the bound (l, pair), for pairs of which both layers are there."""
    assert statistics.cells is not None, "measured on charts"
    error = statistics.cells.mean(0).sqrt().numpy()
    return np.asarray((error / bound_nm(stack, contrast))[:, 1:, 1:].reshape(len(error), -1))


@styled
def bound_figure(charts: Mapping[str, Mapping[str, Statistics]]) -> Figure:
    """Thickness error over the bound of one pixel: a dot is the median over pairs of thickness, a bar 80 % of them."""
    stack = load_stack(STACK)
    most = max(len(methods) for methods in charts.values())
    figure = new_figure(10.0, 0.9 + (0.6 + 0.27 * most) * len(charts))
    axes = figure.subplots(len(charts), len(stack.layers), squeeze=False, sharex=True)
    for row, (contrast, methods) in zip(axes, charts.items(), strict=True):
        share = {m: ratios(statistics, stack, contrast) for m, statistics in methods.items()}
        ranked = sorted(share, key=lambda m: -float(np.median(share[m])))
        for k, axis in enumerate(row):
            axis.axvspan(1e-3, 1, color="#E8F1F8", zorder=0)
            axis.axvline(1, color=colours.INK, linewidth=1.2, linestyle="--")
            for i, method in enumerate(ranked):
                low, middle, high = np.percentile(share[method][k], _SHARES)
                colour, marker = colours.method_style(method)
                axis.plot([low, high], [i, i], color=colour, linewidth=3, alpha=0.6, solid_capstyle="round")
                axis.plot(middle, i, marker, color=colour, markersize=8)
            axis.set_yticks(range(len(ranked)), ranked if k == 0 else [""] * len(ranked))
            axis.set(xscale="log", title=f"{stack.symbols[k]}, {contrast} contrast", ylim=(-0.6, len(ranked) - 0.4))
            axis.grid(axis="x", alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    values = np.concatenate([ratios(f, stack, c).ravel() for c, ms in charts.items() for f in ms.values()])
    axes[0, 0].set_xlim(max(0.6 * np.percentile(values, 2), 2e-3), 1.6 * np.percentile(values, 98))
    for axis in axes[-1]:
        axis.set_xlabel("thickness error / Cramér-Rao bound of one pixel")
    axes[0, -1].annotate("neighbours help", (0.98, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -12),
                         textcoords="offset points", ha="right", color=colours.INK, fontsize=8)  # fmt: skip
    return figure


@styled
def thickness_error_figure(methods: Mapping[str, Statistics], contrast: str) -> Figure:
    """Root mean square error by gold and aluminium thickness: the bound of one pixel, then methods; a row a layer."""
    stack = load_stack(STACK)
    maps = {"bound of one pixel": bound_nm(stack, contrast)}
    for method in MAPPED:
        if method in methods and (cells := methods[method].cells) is not None:
            maps[method] = cells.mean(0).sqrt().numpy()
    levels = levels_nm(stack)
    figure = new_figure(1.3 + 1.75 * len(maps), 4.2, layout="compressed")
    axes = figure.subplots(2, len(maps), squeeze=False, sharex=True, sharey=True)
    for row, k in enumerate((1, 0)):
        values = np.stack([m[k] for m in maps.values()])
        high = float(values.max())
        norm = LogNorm(max(float(np.percentile(values, 5)), high / 300), high)
        for axis, (name, errors) in zip(axes[row], maps.items(), strict=True):
            drawn = axis.imshow(np.maximum(errors[k].T, norm.vmin or 0), origin="lower", cmap=colours.UNCERTAINTY_MAP,
                                norm=norm)  # fmt: skip
            axis.set_xticks(range(len(levels[0])), [f"{v:.3g}" for v in levels[0]], fontsize=6.5)
            axis.set_yticks(range(len(levels[1])), [f"{v:.3g}" for v in levels[1]], fontsize=6.5)
            if row == 0:
                axis.set_title(name)
            else:
                axis.set_xlabel(f"{stack.symbols[0]} [nm]")
        axes[row, 0].set_ylabel(f"{stack.symbols[1]} [nm]")
        bar = figure.colorbar(drawn, ax=list(axes[row]), extend="min", pad=0.01)
        bar.set_label(f"rms error of {stack.symbols[k]} [nm]")
        bar.formatter = StrMethodFormatter("{x:g}")
    return figure


@styled
def cost_figure(quality: Mapping[str, float], costs: Mapping[str, Cost]) -> Figure:
    """Voxels that are wrong (1 - mIoU) against seconds a scan; the area of a dot is the memory."""
    figure = new_figure(7.4, 4.4)
    axis = figure.subplots()
    dots = []
    for method, cost in costs.items():
        wrong = max(1 - quality[method], 1e-5)
        area = 60.0 if cost.megabytes is None else 30 + 1.2 * cost.megabytes
        axis.scatter(cost.seconds, wrong, s=area, color=colours.method_style(method).colour, alpha=0.75, linewidth=0)
        text = method if cost.megabytes is None else f"{method}, {cost.megabytes:.0f} MB"
        dots.append((text, cost.seconds, wrong, area))
    axis.set(xscale="log", yscale="log", xlabel="time a scan [s]", ylabel="1 − mIoU, lower is better")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        side.set_minor_formatter(NullFormatter())
    axis.margins(0.2)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    _label(figure, axis, dots)
    return figure


def _label(figure: Figure, axis: Axes, dots: Sequence[tuple[str, float, float, float]]) -> None:
    """Write text beside dots (text, x, y, area), on the first side where it covers no dot and no other text."""
    figure.draw_without_rendering()
    point = figure.dpi / 72
    taken = []
    for _, x, y, area in dots:
        across, along = axis.transData.transform((x, y))
        side = point * area**0.5
        taken.append(Bbox.from_bounds(across - side / 2, along - side / 2, side, side))
    for text, x, y, area in dots:
        away = 3 + 0.5 * area**0.5
        for dx, dy, h, v in _SIDES:
            label = axis.annotate(
                text, (x, y), xytext=(away * dx, away * dy), textcoords="offset points", ha=h, va=v, fontsize=8
            )
            box = label.get_window_extent()
            outside = box.x0 < axis.bbox.x0 or box.x1 > axis.bbox.x1
            label.set_visible(not outside and not any(box.overlaps(other) for other in taken))
            if label.get_visible():
                break
        label.set_visible(True)
        taken.append(box)


def noise_columns(sweeps: Mapping[str, Sweep]) -> list[Sequence[str]]:
    """Mean IoU, its standard error and pooled mIoU by contrast, method and noise, a header first."""
    rows: list[Sequence[str]] = [("contrast", "method", "noise", "structures", "mIoU", "standard error", "pooled mIoU")]
    for contrast, methods in sweeps.items():
        for method, levels in methods.items():
            for noise in sorted(levels):
                m = levels[noise]
                values = (m.scores.miou, m.standard_error, m.scores.pooled_miou)
                rows.append((contrast, method, f"{noise:g}", str(m.samples), *(f"{v:.4f}" for v in values)))
    return rows


def bound_columns(charts: Mapping[str, Mapping[str, Statistics]]) -> list[Sequence[str]]:
    """Thickness error over the bound of one pixel by contrast, method and layer: percentiles over pairs."""
    stack = load_stack(STACK)
    rows: list[Sequence[str]] = [("contrast", "method", "layer", *(f"{share} % of pairs below" for share in _SHARES))]
    for contrast, methods in charts.items():
        for method, statistics in methods.items():
            for symbol, share in zip(stack.symbols, ratios(statistics, stack, contrast), strict=True):
                rows.append((contrast, method, symbol, *(f"{v:.4g}" for v in np.percentile(share, _SHARES))))
    return rows


def error_columns(charts: Mapping[str, Mapping[str, Statistics]]) -> list[Sequence[str]]:
    """Root mean square error [nm] by contrast, method ("bound" for that of one pixel) and thickness [nm]."""
    stack = load_stack(STACK)
    levels = levels_nm(stack).tolist()
    rows: list[Sequence[str]] = [("contrast", "method", "Au [nm]", "Al [nm]", "rms error Au [nm]", "rms error Al [nm]")]
    for contrast, methods in charts.items():
        errors = {m: s.cells.mean(0).sqrt().numpy() for m, s in methods.items() if s.cells is not None}
        for method, each in {"bound": bound_nm(stack, contrast), **errors}.items():
            for i, gold in enumerate(levels[0]):
                for j, aluminium in enumerate(levels[1]):
                    values = (gold, aluminium, each[0, i, j], each[1, i, j])
                    rows.append((contrast, method, *(f"{v:.4g}" for v in values)))
    return rows
