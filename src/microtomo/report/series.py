"""What the page of a measurement shows of a followed series."""

from __future__ import annotations

from pathlib import Path

from microtomo.report.page import Picture, Section
from microtomo.tem.particles.tracking import Series
from microtomo.viz.figures import save_figure
from microtomo.viz.series import series_figure

_DPI = 110  # as the pictures of the page


def series_section(series: Series, folder: Path) -> Section:
    """Curves over the frames; ``folder`` holds what is drawn."""
    drawn = save_figure(series_figure(series), folder / "series.png", _DPI)
    caption = (
        "Number of particles on each frame; mean diameter of the whole ones with its standard error; and their volume, "
        "the sum of the cubes of the diameters, over that of the first frame."
    )
    return Section("Over time", series.sentence() + ".", pictures=[Picture(drawn, caption)])
