"""What names tell: the order of files, an energy in a file name, arrays that hold energies."""

from __future__ import annotations

import re
from pathlib import Path

ENERGY_NAMES = ("energies_kev", "energy_kev", "energies", "energy")
"""Names under which arrays of energies stand beside a scan."""


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorts names with numbers in them as people do: image9 before image10."""
    parts = re.split(r"(\d+)", path.stem)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts]


def energy_in_name(stem: str) -> float | None:
    """Energy [keV] in a file name such as ``al_05keV``, ``5.5 keV``, ``5000eV``, ``5.0kV``; None without one."""
    match = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)[ _-]?(k?)e?V(?![a-z])", stem, re.IGNORECASE)
    return None if match is None else float(match[1]) * (1.0 if match[2] else 0.001)
