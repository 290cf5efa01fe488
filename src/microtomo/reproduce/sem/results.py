"""What was computed, by trial and method, and where its tables and figures are written."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from microtomo.inverse.leaderboard import Trial
from microtomo.report.markdown import write_table
from microtomo.report.page import Picture, Table
from microtomo.reproduce.sem import tables
from microtomo.reproduce.sem.cost import Cost
from microtomo.reproduce.sem.plan import Settings, cost_jobs, reconstruction_jobs
from microtomo.reproduce.sem.reconstructions import Statistics, collect
from microtomo.viz.figures import save_figure

_DPI = 110  # of figures: 7 to 10 inches wide, they fit a page without scaling


class Results:
    """The results in a folder; ``below`` grows by the figures of each table that are below the published ones."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.jobs = reconstruction_jobs(settings)
        self.methods = tables.ordered(m.name for m in settings.chosen("published"))
        self.below: list[str] = []

    def of(self, trial: Trial) -> dict[str, Statistics]:
        """Results of a trial by method, in the report's order."""
        collected = {m: collect(batches, self.folder) for (t, m), batches in self.jobs.items() if t == trial}
        return {m: collected[m] for m in tables.ordered(collected)}

    def costs(self) -> dict[str, Cost]:
        """Time and memory by method."""
        read = {c.method: c.read(self.folder) for c in cost_jobs(self.settings)}
        return {m: cost for m in self.methods if (cost := read[m]) is not None}

    def save_table(self, table: Table, name: str, title: str = "") -> Table:
        """Write a table as CSV; ``title`` is what it is called where its figures are below the published ones."""
        write_table(table, self.folder / "tables" / f"{name}.csv")
        self.below += [f"{title}: {what}" for what in tables.below(table)]
        return table

    def draw(self, figure: Figure, name: str, caption: str) -> Picture:
        """Write a figure as PNG."""
        return Picture(save_figure(figure, self.folder / "figures" / f"{name}.png", dpi=_DPI), caption)
