"""The page on the images of a folder that were measured: table, histogram, control chart by date, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.registry import Measurement
from microtomo.report.page import Picture, Report, Section, Table
from microtomo.tem.measurement import Column
from microtomo.viz.control_chart import control_figure, control_limits, histogram_figure
from microtomo.viz.figures import save_figure

MOST_PICTURES = 60
"""Images that are shown on a page: more would make it too large to send."""

_DPI = 110  # sharp at half the page's width


@dataclass(frozen=True)
class MeasuredImage:
    """An image on the page: its name, its date, the columns of its first table, and its picture."""

    name: str
    taken: date
    columns: Sequence[Column]
    picture: Path | None = None


@dataclass
class MeasurementPage:
    """Collects the measured images of one measurement; ``folder`` holds what is drawn until the page is made."""

    known: Measurement
    folder: Path
    images: list[MeasuredImage] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.known.chart) < 3:
            raise MicrotomoError(f"measurement {self.known.name} has no chart: give its decorator one for a report")

    @property
    def _title(self) -> str:
        """What is drawn over the dates, as mean [nm]."""
        name, _, unit = self.known.chart[0].rpartition("_")
        return f"{name} [{unit}]"

    @property
    def shows_more(self) -> bool:
        """Whether there is room for the picture of one more image."""
        return sum(image.picture is not None for image in self.images) < MOST_PICTURES

    def report(self, title: str) -> Report:
        """The page: charts of what has a value, the table of all, and the pictures."""
        charted = self._charted()
        sections = [self._charts(charted)] if charted else []
        sections.append(Section("Images", "\n\n".join(self.refused), self._table()))
        pictures = [Picture(i.picture, i.name, half=True) for i in self.images if i.picture is not None]
        if pictures:
            more = len(self.images) - len(pictures)
            sections.append(
                Section("Pictures", f"{more} more are in the table alone." if more else "", None, None, pictures)
            )
        return Report(title, self._lead(charted), sections)

    def _charted(self) -> list[tuple[float, float, float, date]]:
        """Value, interval and date of every row that has a value."""
        rows: list[tuple[float, float, float, date]] = []
        for image in self.images:
            by_name = {column.name: column.values for column in image.columns}
            three = zip(*(by_name[name] for name in self.known.chart[:3]), strict=True)
            rows += [(float(v), float(a), float(b), image.taken) for v, a, b in three if v is not None]
        return rows

    def _lead(self, charted: Sequence[tuple[float, float, float, date]]) -> str:
        without = sum(len(image.columns[0].values) for image in self.images) - len(charted)
        words = [f"{len(self.images)} images, {len(charted)} values."]
        if charted:
            mean = control_limits([row[0] for row in charted])[1]
            words.append(f"Mean of {self._title}: {mean:.4g}.")
        if without or self.refused:
            words.append(f"{without + len(self.refused)} gave no value: the table says why.")
        return " ".join(words)

    def _charts(self, charted: Sequence[tuple[float, float, float, date]]) -> Section:
        value, low, high, dates = zip(*charted, strict=True)
        drawn = (
            ("histogram", histogram_figure(value, self._title), "How the values are distributed."),
            (
                "control",
                control_figure(value, low, high, dates, self._title),
                "Values in the order of their dates, with 95 % intervals; control limits from the moving range.",
            ),
        )
        pictures = [
            Picture(save_figure(figure, self.folder / f"chart-{name}.png", _DPI), words)
            for name, figure, words in drawn
        ]
        return Section("Values", pictures=pictures)

    def _table(self) -> Table:
        """The columns of the chart's choice, the image's name and date before them."""
        rows = []
        for image in self.images:
            by_name = {column.name: column.cells for column in image.columns}
            cells = zip(*(by_name[name] for name in self.known.chart), strict=True)
            rows += [[image.name, image.taken.isoformat(), *row] for row in cells]
        return Table(["image", "date", *self.known.chart], rows)
