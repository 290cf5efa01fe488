"""One page for all images of a measurement: what was found in total, and each image with what is on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtomo.registry import Measurement
from microtomo.report.page import Picture, Report, Section, Table


@dataclass(frozen=True)
class Shown:
    """A measured image on the page: its name, summary and sentence, and the PNG file of its picture."""

    name: str
    summary: dict[str, Any]
    sentence: str
    picture: Path


def measurement_report(
    known: Measurement,
    method: str,
    images: Sequence[Shown],
    total: str = "",
    distribution: Path | None = None,
    charts: Sequence[Section] = (),
    refused: Sequence[str] = (),
) -> Report:
    """The page: ``total`` and the PNG file of the ``distribution`` where there is one, ``charts`` over dates or a table
    with a row an image, every picture, and why images were ``refused``."""
    sections = [*charts]
    if total or distribution is not None:
        drawn = [] if distribution is None else [Picture(distribution, f"Distribution of the {known.distribution}s.")]
        sections.append(Section("All images", total, pictures=drawn))
    if not known.chart:
        sections.append(Section("Each image", table=_table(images)))
    pictures = [Picture(image.picture, f"{image.name}: {image.sentence}", len(images) > 1) for image in images]
    if pictures:
        sections.append(Section("Pictures", pictures=pictures))
    if refused:
        sections.append(Section("Not measured", "\n\n".join(refused)))
    count = f"{len(images)} image{'s' if len(images) > 1 else ''}"
    return Report(f"{known.name.capitalize()} on {count}", known.summary, sections, f"microtomo, method {method}")


def _table(images: Sequence[Shown]) -> Table:
    """Numbers of the summaries, a row an image; columns that no image fills are left out."""
    names = [k for image in images for k, v in image.summary.items() if isinstance(v, int | float)]
    columns = list(dict.fromkeys(names))
    rows = [[image.name, *(_cell(image.summary.get(name)) for name in columns)] for image in images]
    return Table(["image", *(name.replace("_", " ") for name in columns)], rows)


def _cell(value: Any) -> str:
    if not isinstance(value, int | float):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
