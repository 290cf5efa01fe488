"""Thickness along a line and how it is distributed: numbers for other programs, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from microtomo.errors import MicrotomoError
from microtomo.study import Study
from microtomo.viz import colours
from microtomo.viz.figures import array, new_figure, styled

_BINS = 64  # of a histogram, between nothing and the greatest thickness


@dataclass(frozen=True)
class Profile:
    """Maps along a line: ``distance_nm`` (p,), ``places`` (p, 2) [pixels], y first, and values (l, p) [nm]."""

    symbols: tuple[str, ...]
    distance_nm: np.ndarray
    places: np.ndarray
    thickness: np.ndarray
    uncertainty: np.ndarray | None
    truth: np.ndarray | None

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text."""
        header, columns = ["distance_nm", "y_px", "x_px"], [self.distance_nm, *self.places.T]
        for k, symbol in enumerate(self.symbols):
            for name, values in (("nm", self.thickness), ("sd_nm", self.uncertainty), ("true_nm", self.truth)):
                if values is not None:
                    header.append(f"{symbol}_{name}")
                    columns.append(values[k])
        return header, [[f"{v:.6g}" for v in row] for row in zip(*columns, strict=True)]


def line_profile(study: Study, line: Sequence[float] | None = None) -> Profile:
    """Thickness from (y0, x0) to (y1, x1) in pixels, a value a pixel of the way, linear between pixels.

    Without a ``line`` that is the middle row. Raises MicrotomoError for a line that leaves the image.
    """
    from scipy.ndimage import map_coordinates

    height, width = study.shape
    y0, x0, y1, x1 = line if line is not None else (height // 2, 0, height // 2, width - 1)
    if not all(0 <= y <= height - 1 for y in (y0, y1)) or not all(0 <= x <= width - 1 for x in (x0, x1)):
        raise MicrotomoError(f"the line leaves the image: rows are 0..{height - 1}, columns 0..{width - 1}")
    length = float(np.hypot(y1 - y0, x1 - x0))
    share = np.linspace(0, 1, max(2, round(length) + 1))
    places = np.stack([y0 + share * (y1 - y0), x0 + share * (x1 - x0)], 1)

    def along(maps: object) -> np.ndarray | None:
        if maps is None:
            return None
        return np.stack([map_coordinates(m.astype(float), places.T, order=1) for m in array(maps)])

    thickness = along(_maps(study))
    assert thickness is not None
    uncertainty = None if study.rec is None else along(study.rec.uncertainty)
    truth = None if study.rec is None else along(study.truth)
    distance = share * length * study.pixel_nm
    return Profile(study.stack.symbols, distance, places, thickness, uncertainty, truth)


def histogram_table(study: Study) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a histogram a layer: its symbol, the ends of the bin [nm], pixels and their share."""
    rows = []
    for symbol, values, top in zip(study.stack.symbols, array(_maps(study)), study.stack.max_nm, strict=True):
        counts, ends = _counted(values, top)
        share = counts / max(counts.sum(), 1)
        ranges = zip(ends, ends[1:], counts, share, strict=False)
        rows += [[symbol, f"{a:.6g}", f"{b:.6g}", str(int(n)), f"{s:.6g}"] for a, b, n, s in ranges]
    return ["layer", "from_nm", "to_nm", "pixels", "share"], rows


@styled
def profile_figure(profile: Profile, title: str = "") -> Figure:
    """A panel a layer, top layer first: thickness with a band of 1.96 standard deviations, and the truth."""
    figure = new_figure(8.5, 1.0 + 1.8 * len(profile.symbols), title)
    axes = figure.subplots(len(profile.symbols), 1, squeeze=False, sharex=True)[:, 0]
    for axis, k in zip(axes, reversed(range(len(profile.symbols))), strict=True):
        x, y = profile.distance_nm, profile.thickness[k]
        if profile.uncertainty is not None:
            reach = 1.96 * profile.uncertainty[k]
            low, tint = np.maximum(y - reach, 0), colours.METHOD_COLOURS[0]
            axis.fill_between(x, low, y + reach, color=tint, alpha=0.25, linewidth=0, label="± 1.96 sd")
        axis.plot(x, y, color=colours.METHOD_COLOURS[0], linewidth=1.2, label="thickness")
        if profile.truth is not None:
            axis.plot(x, profile.truth[k], "--", color=colours.INK, linewidth=1, label="truth")
        axis.set_ylabel(f"{profile.symbols[k]} [nm]")
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    axes[-1].set_xlabel("distance along the line [nm]")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    return figure


@styled
def histograms_figure(study: Study, title: str = "") -> Figure:
    """How the thickness of each layer is distributed, top layer first."""
    layers = len(study.stack.layers)
    figure = new_figure(1.0 + 3.4 * layers, 3.2, title)
    axes = figure.subplots(1, layers, squeeze=False)[0]
    maps, tints = array(_maps(study)), colours.stack_colours(study.stack)[1]
    for axis, k in zip(axes, reversed(range(layers)), strict=True):
        counts, ends = _counted(maps[k], study.stack.max_nm[k])
        axis.stairs(counts / max(counts.sum(), 1), ends, fill=True, color=tints[k], edgecolor=colours.DARK_GREY)
        axis.set_xlabel(f"{study.stack.symbols[k]} thickness [nm]")
        axis.set_ylabel("share of the pixels")
        axis.margins(x=0)
    return figure


def _counted(values: np.ndarray, top_nm: float) -> tuple[np.ndarray, np.ndarray]:
    finite = values[np.isfinite(values)]
    top = max(top_nm, float(finite.max(initial=0.0)))
    counts, ends = np.histogram(finite, bins=_BINS, range=(min(0.0, float(finite.min(initial=0.0))), top))
    return counts, ends


def _maps(study: Study) -> object:
    maps = study.truth if study.rec is None else study.rec.thickness
    if maps is None:
        raise MicrotomoError("a scan has no thickness: reconstruct it and give that file")
    return maps
