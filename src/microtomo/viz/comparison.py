"""Two reconstructions and their difference, as maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from microtomo.inverse.comparison import Comparison
from microtomo.viz import colours
from microtomo.viz.figures import array, image_row, label_edges, lateral, new_figure, styled

_SIGMAS = 4.0  # ends of the scale of differences in standard deviations: one beyond is no chance


@styled
def comparison_figure(compared: Comparison, maps: tuple[Any, Any], names: tuple[str, str], title: str = "") -> Figure:
    """A row a layer, top layer first: both thickness maps (l, y, x) on one scale, the difference in nm and sigmas."""
    first, second = (np.where(np.isfinite(array(m)), array(m), np.nan) for m in maps)
    layers = len(compared.symbols)
    figure = new_figure(12.5, 0.6 + 2.7 * layers, title, layout="compressed")
    axes = figure.subplots(layers, 4, squeeze=False, sharex=True, sharey=True)
    extent, unit = lateral(compared.pixel_nm, first.shape)
    for row, k in enumerate(reversed(range(layers))):
        symbol, nm, sigmas = compared.symbols[k], compared.difference[k], compared.sigmas[k]
        top = max(float(np.nanmax(m[k])) for m in (first, second))
        pair = [(f"{symbol}: {name}", m[k]) for name, m in zip(names, (first, second), strict=True)]
        image_row(figure, axes[row, :2], pair, extent, colours.THICKNESS_MAP, (0.0, max(top, 1e-3)), "thickness [nm]")
        limit = max(float(np.nanpercentile(np.abs(nm), 99.5)), 1e-3)
        rms = float(np.sqrt(np.nanmean(nm**2)))
        image_row(figure, axes[row, 2:3], [(f"second − first, rms {rms:.3g} nm", nm)], extent, colours.ERROR_MAP,
                  (-limit, limit), "difference [nm]")  # fmt: skip
        known = np.isfinite(sigmas).any()
        shown = sigmas if known else np.zeros_like(nm)
        within = f", {np.nanmean(np.abs(sigmas) <= 1.96):.0%} within 1.96" if known else ": no error bars"
        image_row(figure, axes[row, 3:], [(f"in sigmas{within}", shown)], extent, colours.ERROR_MAP,
                  (-_SIGMAS, _SIGMAS), "difference [sigmas]")  # fmt: skip
    label_edges(axes, unit)
    return figure
