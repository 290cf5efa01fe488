"""What names tell: the order of files, an energy in a file name, arrays that hold energies."""

from __future__ import annotations

import re
from pathlib import Path

from microtomo.errors import MicrotomoError

ENERGY_NAMES = ("energies_kev", "energy_kev", "energies", "energy")
"""Names under which arrays of energies stand beside a scan."""

_NUMBER = r"(\d+(?:[.,]\d+)?)"
_BEFORE_UNIT = re.compile(rf"(?<![\d.,]){_NUMBER}[ _-]?(k?)e?V(?![a-z])", re.IGNORECASE)
_AFTER_UNIT = re.compile(rf"(?<![a-z])ke?V[ _=-]*{_NUMBER}(?![\d.,])", re.IGNORECASE)
_AFTER_NAME = re.compile(rf"(?<![a-z])(?:HV|EHT|Energy|E(?==))[ _=-]*{_NUMBER}(?![\d.,])", re.IGNORECASE)
_MOST_KEV = 100.0  # a number above is one of volts, where a name says no unit
_PLACES = {"{kev}": 1.0, "{ev}": 0.001}


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorts names with numbers in them as people do: image9 before image10."""
    parts = re.split(r"(\d+)", path.stem)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts]


def energy_in_name(stem: str) -> float | None:
    """Energy [keV] in a file name such as ``al_05keV``, ``5.5 keV``, ``10,1kV``, ``5000eV``, ``kV5``, ``HV=5``.

    None without one. After ``HV``, ``EHT`` and the like a number above 100 is in volts.
    """
    if (match := _BEFORE_UNIT.search(stem)) is not None:
        return _number(match[1]) * (1.0 if match[2] else 0.001)
    if (match := _AFTER_UNIT.search(stem)) is not None:
        return _number(match[1])
    if (match := _AFTER_NAME.search(stem)) is not None:
        value = _number(match[1])
        return value / 1000 if value > _MOST_KEV else value
    return None


def energy_by_pattern(name: str, pattern: str) -> float:
    """Energy [keV] in a file name by a pattern: ``{kev}`` or ``{ev}`` stands for the number, ``*`` for anything.

    Raises MicrotomoError for a pattern without either, and for a name that does not follow it.
    """
    places = [place for place in _PLACES if place in pattern]
    if len(places) != 1 or pattern.count(places[0]) != 1:
        raise MicrotomoError(f"pattern {pattern!r}: write {{kev}} or {{ev}} once, such as 'scan_{{kev}}_*.tif'")
    before, after = (re.escape(part).replace(r"\*", ".*") for part in pattern.split(places[0]))
    match = re.fullmatch(rf"{before}{_NUMBER}{after}", name) or re.fullmatch(rf"{before}{_NUMBER}{after}\.\w+", name)
    if match is None:
        raise MicrotomoError(f"the name does not follow the pattern {pattern!r}: give another, or other images")
    return _number(match[1]) * _PLACES[places[0]]


def _number(text: str) -> float:
    return float(text.replace(",", "."))
