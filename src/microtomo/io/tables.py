"""Tables as CSV that a spreadsheet takes for data, whatever names are in them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path

from microtomo.errors import printable
from microtomo.io.atomic import whole_file, writing

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)


def csv_line(cells: Iterable[str]) -> str:
    """Cells as a line of CSV without its end, quoted where they hold commas or quotes.

    Spreadsheets run what begins like a formula: such a text gets an apostrophe in front. Numbers stay as they are.
    """
    line = StringIO()
    csv.writer(line, lineterminator="").writerow([_harmless(cell) for cell in cells])
    return line.getvalue()


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a table as CSV, whole or not at all. Raises MicrotomoError where it cannot be written."""
    with whole_file(path) as temporary, writing(path), temporary.open("w", encoding="utf-8") as file:
        for row in chain([header], rows):
            print(csv_line(row), file=file)
    return Path(path)


def _harmless(cell: str) -> str:
    text = printable(cell)
    return f"'{text}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else text
