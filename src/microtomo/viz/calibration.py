"""Films of known thickness: what was measured, and what the calibrated instrument should see."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from microtomo.inverse.calibration import Calibration
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

_COLUMNS = 3  # panels side by side: each stays readable on a page
_LEAST_PERCENT = 1.0  # residual axes reach so far at least


@styled
def calibration_figure(calibration: Calibration) -> Figure:
    """Signal against energy of every film, measured (with standard deviations) and fitted, and the residuals below
    with a band for what the physics may be wrong by."""
    standards, energies = calibration.standards, np.asarray(calibration.stack.energies_kev)
    films = len(standards.names)
    columns = min(films, _COLUMNS)
    rows = -(-films // columns)
    figure = new_figure(max(4.6, 3.4 * columns), 3.5 * rows + 0.5, f"Calibration of {calibration.stack.name}")
    parts = np.atleast_1d(figure.subfigures(rows, columns, squeeze=False)).ravel()
    residuals = 100 * (standards.signal / calibration.fitted - 1)
    bars = 100 * standards.deviation
    widest = max(_LEAST_PERCENT, 1.15 * float((np.abs(residuals) + bars).max()), 115 * float(calibration.doubt.max()))
    for f in range(films):
        axis, below = parts[f].subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        axis.set_title(f"{standards.names[f]}, {standards.pixels[f]} pixels")
        axis.axhline(1, color=colours.FAINT, linewidth=0.8, linestyle=":")
        axis.plot(energies, calibration.fitted[f], "-", color=colours.METHOD_COLOURS[0], linewidth=1.3, label="fitted")
        error = standards.deviation[f] * standards.signal[f]
        style = {"fmt": "o", "color": colours.INK, "markersize": 3, "linewidth": 0.9, "capsize": 1.5}
        axis.errorbar(energies, standards.signal[f], yerr=error, label="measured", **style)
        doubt = 100 * calibration.doubt[f]
        below.fill_between(energies, -doubt, doubt, color="#DCE6F0", linewidth=0, label="physics' doubt")
        below.axhline(0, color=colours.METHOD_COLOURS[0], linewidth=1)
        below.errorbar(energies, residuals[f], yerr=bars[f], **style)
        below.set_ylim(-widest, widest)
        for panel in (axis, below):
            panel.grid(color="#E8E8E8", linewidth=0.6)
            panel.set_axisbelow(True)
        below.set_xlabel("beam energy [keV]")
        if f % columns == 0:
            axis.set_ylabel("signal over substrate")
            below.set_ylabel("residual [%]")
        if f == 0:
            axis.legend(frameon=False)
            if doubt.any():
                below.legend(frameon=False, loc="lower right")
    return figure
