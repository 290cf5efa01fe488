"""When an image was taken: a date in its name, else that of its file."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")


def date_of(path: str | Path) -> date:
    """The date in a file's name, as 2026-11-21, 2026_11_21, 2026.11.21 or 20261121, else when it was last changed.

    Raises OSError where the name has none and there is no such file.
    """
    for year, _, month, day in _DATE.findall(Path(path).stem):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:  # a number that is no date
            continue
    return datetime.fromtimestamp(Path(path).stat().st_mtime).date()
