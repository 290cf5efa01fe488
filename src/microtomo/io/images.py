"""What readers of arrays and images give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Images:
    """An array (e, y, x) or (n, e, y, x), the energies [keV] that came with it, if any, and the files it is from."""

    data: Any
    energies_kev: tuple[float, ...] | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Frame:
    """One image (y, x) as recorded, where it is from, its energy [keV] and pixel size [nm] where the file says."""

    image: np.ndarray
    path: Path
    name: str
    energy_kev: float | None = None
    pixel_nm: float | None = None
