"""Tables, figures and words put together: one HTML page, the same as Markdown, tables as CSV, figures as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from microtomo.io.atomic import machine
from microtomo.report.markdown import write_markdown, write_table
from microtomo.report.page import Picture, Report, Section, Table, write_report
from microtomo.reproduce.overcoat import figures, published, tables
from microtomo.reproduce.overcoat.jobs import FoldJob, Record
from microtomo.reproduce.overcoat.plan import REGRESSORS, SHIPPED, Settings
from microtomo.reproduce.overcoat.tables import Regression
from microtomo.tem.layers.synthetic import Overcoat
from microtomo.viz.figures import save_figure

_DPI = 110  # of figures: 7 to 10 inches wide, they fit a page without scaling

_TABLE_1 = f"""
Means over the held-out images of all folds, of the layer alone. Grey rows are the paper's, on its own images. Post: the
largest connected component alone. Where it stands, {SHIPPED} is what comes with the package, trained on other synthetic
overcoats and on none of these. Where the mask is not clearly one layer there is no thickness: the last column. Red and
{tables.MARK}: below the published figure.
"""
_TABLE_2 = """
Mean squared error of an image's mean thickness. Ours is against the exact orthogonal thickness of the synthetic layer,
the paper's against the orthogonal thickness of hand-drawn labels. Regressors predict mean and standard deviation: the
first takes the predicted mask, the two others the image. Three lines have the exact layer to go by, and err by slope
and by roughness alone.
"""


class _Page:
    """What is written, and where."""

    def __init__(self, folder: Path, settings: Settings, jobs: Sequence[FoldJob]) -> None:
        self.folder, self.settings = folder, settings
        self.samples: dict[int, Overcoat] = {i: settings.image(i) for i in range(settings.images)}
        self.results: dict[str, list[Record]] = {}
        self.masks: dict[str, dict[int, np.ndarray]] = {}
        for job in jobs:
            self.results.setdefault(job.network, []).extend(job.records(folder))
            if job.network not in REGRESSORS:
                self.masks.setdefault(job.network, {}).update(job.predicted(folder))

    def draw(self, figure: Figure, name: str, caption: str) -> Picture:
        """Write a figure as PNG."""
        return Picture(save_figure(figure, self.folder / "figures" / f"{name}.png", dpi=_DPI), caption)

    def save(self, table: Table, name: str) -> Table:
        """Write a table as CSV."""
        write_table(table, self.folder / "tables" / f"{name}.csv")
        return table

    def shown(self, best: str) -> list[str]:
        """The best of the trained networks, and the shipped one where it was measured."""
        return list(dict.fromkeys(name for name in (best, SHIPPED) if name in self.results))

    def masks_of(self, network: str, records: Sequence[Record]) -> Figure:
        """Images with their true and predicted layers."""
        notes = []
        for r in records:
            found = r.status if np.isnan(r.mean) else f"{r.mean:.2f}"
            notes.append(f"image {r.index}: {found},\nexact {self.samples[r.index].mean_nm:.2f} nm; Dice {r.dice:.2f}")
        chosen = [self.samples[r.index] for r in records]
        figure: Figure = figures.masks_figure(chosen, [self.masks[network][r.index] for r in records], notes)
        return figure


def write(folder: Path, settings: Settings, jobs: Sequence[FoldJob]) -> tuple[Path, list[str]]:
    """Write everything from the results in the folder; returns the page, and what is worse than published."""
    page = _Page(folder, settings, jobs)
    networks = {name: records for name, records in page.results.items() if name not in REGRESSORS}
    first = page.save(tables.segmentation(networks), "table_1")
    second = page.save(tables.thickness(page.results, page.samples), "table_2")
    worse = tables.worse({"table 1": first, "table 2": second})
    best = _best(networks)
    text = f"Worse than the published figures: {'; '.join(worse)}." if worse else "No figure is worse than published."
    sections = [
        Section("At a glance", text),
        Section("Table 1: segmentation", _TABLE_1, first),
        Section("Table 2: thickness", _TABLE_2, second),
        *_regressions(page, best),
        *_masks(page, best),
    ]
    footer = f"microtomo {version('microtomo')}, {machine()}. Made by `microtomo reproduce overcoat`."
    report = Report("Head-overcoat thickness in TEM: the paper, computed again", _lead(settings), sections, footer)
    write_markdown(report, folder / "report.md")
    return write_report(report, folder / "index.html"), worse


def _lead(s: Settings) -> str:
    small = (
        "The networks have their published depth and blocks but fewer channels than published, so that two cores train "
        "them: `--set sizes=published` takes the published ones."
        if s.sizes == "small"
        else "The networks have their published sizes."
    )
    return f"""
Tables and figures of the head-overcoat paper (NASNet-Large segmentation, orthogonal thickness, regression network). Its
364 images are not public: these are **synthetic images**, {s.images} of {s.size} x {s.size} pixels (seed {s.seed}), a
layer of 1 to 5 nm between granular metal and a cap, tilted by up to 30 degrees, bent and rough, of three compositions
that stand for its three dates; a sixth are too dark or too light, a sixth have a sticker, a sixth a crossing layer.
{s.folds} folds as in the paper: a network is trained on the images of the others alone, from random weights, with
{s.samples} turned images (regressors {s.regressed}). {small} How easy synthetic images are is not how easy the paper's
are: compare methods with each other, not with the paper.
"""


def _best(networks: Mapping[str, Sequence[Record]]) -> str:
    """The trained network of the highest Dice after post-processing."""
    trained = {n: r for n, r in networks.items() if n != SHIPPED} or networks
    return max(trained, key=lambda name: float(np.mean([r.dice_processed for r in trained[name]])))


def _regressions(page: _Page, best: str) -> list[Section]:
    """Figures 9, 11 and 12."""
    sections: list[Section] = []
    lines: dict[str, Regression] = {}
    for network in page.shown(best):
        chosen = [r for r in page.results[network] if np.isfinite([r.mean, page.samples[r.index].three_line_nm]).all()]
        if len(chosen) < 3:
            continue
        of = [page.samples[r.index] for r in chosen]
        predicted = np.array([r.mean for r in chosen])
        against = {
            "three lines on the exact layer": np.array([s.three_line_nm for s in of]),
            "exact thickness": np.array([s.mean_nm for s in of]),
        }
        panels = {name: (x, predicted, Regression.of(x, predicted)) for name, x in against.items()}
        lines |= {f"{network} over {name}": panel[2] for name, panel in panels.items()}
        dates = [s.date for s in of]
        figure = figures.regression_figure(panels, dates, f"orthogonal lines, {network}")
        caption = f"{network}: orthogonal thickness of predicted layers over three lines, and over the exact thickness."
        pictures = [page.draw(figure, f"figure_9_{network}", caption)]
        figure = figures.dates_figure(chosen, page.samples)
        pictures.append(page.draw(figure, f"figure_11_{network}", f"{network}: mean and deviation by date."))
        sections.append(Section(f"Figures 9, 11 and 12: thickness by {network}", pictures=pictures))
    if sections:
        text = (
            f"The paper's slopes of orthogonal over three-line thickness are {published.SLOPES[0]:.3f} (training) and "
            f"{published.SLOPES[1]:.3f} (test). The exact thickness stands for its witness wafers."
        )
        sections.insert(0, Section("Figure 9: regressions", text, page.save(tables.lines(lines), "figure_9")))
    return sections


def _masks(page: _Page, best: str) -> list[Section]:
    """Figures 5 to 8, 10 and 13."""
    sections, count = [], page.settings.shown
    for network in page.shown(best):
        records = sorted(page.results[network], key=lambda r: r.index)
        measured = [r for r in records if np.isfinite(r.mean)]
        off = sorted(measured, key=lambda r: -abs(r.mean / page.samples[r.index].mean_nm - 1))[:count]
        failed = sorted(records, key=lambda r: r.dice)[:count]
        groups = (
            (records[:count], "figure_5", "The first images: layer, prediction, errors (red: too much, blue: missed)."),
            (off, "figure_10", "Where the thickness is farthest off, in shares of the exact one."),
            (failed, "figure_13", "Failures: the lowest Dice."),
        )
        pictures = [
            page.draw(page.masks_of(network, chosen), f"{name}_{network}", caption)
            for chosen, name, caption in groups
            if chosen
        ]
        sections.append(Section(f"Figures 5 to 8, 10 and 13: layers by {network}", pictures=pictures))
    return sections
