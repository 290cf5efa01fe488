"""What a page shows of values over time: their distribution, a control chart by date, and a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from microtomo.registry import Measurement
from microtomo.report.page import Picture, Section, Table
from microtomo.tem.measurement import Column
from microtomo.viz.control_chart import control_figure, control_limits, histogram_figure
from microtomo.viz.figures import save_figure

_DPI = 110  # sharp at half the page's width


@dataclass(frozen=True)
class DatedImage:
    """An image on the page: its name, its date, and the columns of its result."""

    name: str
    taken: date
    columns: Sequence[Column]


def charted_sections(known: Measurement, images: Sequence[DatedImage], folder: Path) -> list[Section]:
    """Charts of the images that have a value, and the table of all; ``folder`` holds what is drawn."""
    rows: list[tuple[float, float, float, date]] = []
    cells: list[list[str]] = []
    for image in images:
        by_name = {column.name: column.cells for column in image.columns}
        for row in zip(*(by_name[name] for name in known.chart), strict=True):
            cells.append([image.name, image.taken.isoformat(), *row])
            if row[0]:
                rows.append((float(row[0]), float(row[1]), float(row[2]), image.taken))
    table = Table(["image", "date", *known.chart], cells)
    if not rows:
        return [Section("Values", "No image gave a value: the table says why.", table)]
    value, low, high, dates = zip(*rows, strict=True)
    name, _, unit = known.chart[0].rpartition("_")
    title = f"{name} [{unit}]"
    drawn = (
        ("histogram", histogram_figure(value, title), "How the values are distributed."),
        (
            "control",
            control_figure(value, low, high, dates, title),
            "Values in the order of their dates, with 95 % intervals; control limits from the moving range.",
        ),
    )
    pictures = [Picture(save_figure(f, folder / f"chart-{kind}.png", _DPI), words) for kind, f, words in drawn]
    without = f" {len(cells) - len(rows)} gave no value: the table says why." if len(cells) > len(rows) else ""
    text = f"{len(rows)} values, mean of {title} {control_limits(value)[1]:.4g}.{without}"
    return [Section("Values", text, table, pictures=pictures)]
