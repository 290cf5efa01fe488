"""Curves of a time series of particles."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from microtomo.tem.particles.tracking import Series
from microtomo.viz.colours import METHOD_COLOURS
from microtomo.viz.figures import new_figure, styled


@styled
def series_figure(series: Series) -> Figure:
    """Number, mean diameter with its standard error, and relative volume over the frames."""
    curves, unit = series.curves, "px" if series.pixel_nm is None else "nm"
    scale = series.pixel_nm or 1.0
    figure = new_figure(9.6, 3.2)
    number, mean, volume = figure.subplots(1, 3)
    frame = np.arange(len(curves.number))
    style = {"marker": "o", "ms": 3, "lw": 1.2, "color": METHOD_COLOURS[0]}
    number.plot(frame, curves.number, **style)
    number.set(ylabel="particles", ylim=(0, None))
    low, high = ((curves.mean_px + sign * np.nan_to_num(curves.mean_error_px)) * scale for sign in (-1, 1))
    mean.fill_between(frame, low, high, color=METHOD_COLOURS[0], alpha=0.25, lw=0)
    mean.plot(frame, curves.mean_px * scale, **style)
    mean.set(ylabel=f"mean diameter [{unit}]")
    volume.plot(frame, curves.volume / max(float(curves.volume[0]), 1e-12), **style)
    volume.set(ylabel="volume over the first frame's", ylim=(0, None))
    for axis in (number, mean, volume):
        axis.set(xlabel="frame")
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure
