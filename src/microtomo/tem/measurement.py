"""What a measurement of a micrograph gives, whatever its task: tables, a summary, and marks to draw over the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.io.tables import csv_line
from microtomo.registry import get_measurement, get_task
from microtomo.scan import Array
from microtomo.tem.segmentation import Segmentation, given_labels, segment


@dataclass(frozen=True)
class Column:
    """A column of a table: its name with the unit at its end, a value a row (None: empty), and how one is written."""

    name: str
    values: Sequence[Any] | np.ndarray
    form: str = ""

    @property
    def cells(self) -> list[str]:
        """The values as they are written."""
        return ["" if value is None else format(value, self.form) for value in self.values]


@dataclass(frozen=True)
class Points:
    """Dots at ``places`` (n, 2) [px], y first, of ``size`` [pt]; with a ``label`` they stand in the legend."""

    places: np.ndarray
    colour: str
    size: float = 3.0
    label: str = ""


@dataclass(frozen=True)
class Scale:
    """Colours for ``values`` (n,), one a line: a Matplotlib map between two ``limits``, and what they are."""

    values: np.ndarray
    limits: tuple[float, float]
    label: str
    colours: str = "viridis"
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Straight lines between ``ends`` (n, 2, 2) [px], y first, in one colour or by a scale; ``width`` [pt]."""

    ends: np.ndarray
    colour: str | Scale
    width: float = 1.1
    label: str = ""


@dataclass(frozen=True)
class Outlines:
    """Closed lines through the corners (k, 2) [px], y first, of each outline; ``width`` [pt]."""

    outlines: Sequence[np.ndarray]
    colour: str
    width: float = 1.1
    label: str = ""


@dataclass(frozen=True)
class Texts:
    """Words centred at ``places`` (n, 2) [px], y first; ``size`` [pt]."""

    places: np.ndarray
    texts: Sequence[str]
    colour: str
    size: float = 7.0


Mark = Points | Lines | Outlines | Texts


@dataclass(frozen=True)
class Measured:
    """The result of a measurement.

    ``tables``: columns by the names that the measurement is registered with, the result first; ``summary``: plain
    values for JSON; ``sentence``: the same in a line. The picture is the image with its labels, the ``marks`` over it
    and the ``caption`` on top, in nm where ``pixel_nm`` is known.
    """

    tables: Mapping[str, tuple[Column, ...]]
    summary: dict[str, Any]
    sentence: str
    marks: tuple[Mark, ...] = ()
    caption: str = ""
    pixel_nm: float | None = None
    segmentation: Segmentation | None = field(default=None, repr=False)
    """What was measured, as :func:`measure` fills in."""


def measure(
    image: Array,
    name: str,
    *,
    method: str | None = None,
    labels: np.ndarray | None = None,
    pixel_nm: float | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Measured:
    """Measure a micrograph (y, x) of raw counts with a registered measurement.

    The image is segmented with ``method`` and its ``settings``, else with the best of the task that comes with the
    package; ``labels`` (y, x), see :func:`given_labels`, spare that. ``options`` are those of the measurement. Raises
    MicrotomoError for a method of another task, labels that do not fit, and what cannot be measured.
    """
    known = get_measurement(name)
    if labels is None:
        split = segment(image, method, task=known.task, **(settings or {}))
    else:
        if np.shape(labels) != np.shape(image):
            shapes = f"the labels are {np.shape(labels)} but the image is {np.shape(image)}"
            raise MicrotomoError(f"{shapes}: give the labels of this image")
        split = given_labels(labels, get_task(known.task))
    measured: Measured = known.run(image, split, pixel_nm, **options)
    return replace(measured, segmentation=split)


Row = tuple[str, tuple[Column, ...]]
"""The name of an image, and a table of it."""


def write_table(path: str | Path, rows: Iterable[Row], names_image: bool) -> None:
    """A CSV file with the rows of one image after another, each given as (name of the image, columns).

    With ``names_image`` the first column is that name. Written whole or not at all. Raises MicrotomoError without any
    image.
    """
    header: list[str] | None = None
    with whole_file(path) as temporary, writing(path), temporary.open("w", encoding="utf-8") as file:
        for image, columns in rows:
            if header is None:
                header = [*(["image"] if names_image else []), *(column.name for column in columns)]
                print(csv_line(header), file=file)
            cells = [column.cells for column in columns]
            first = [image] if names_image else []
            for row in zip(*cells, strict=True):
                print(csv_line([*first, *row]), file=file)
        if header is None:
            raise MicrotomoError(f"{path}: there is nothing to write, no image could be measured")
