"""The numbers of one pixel of a study, and how they read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.scan import Array, Status, as_tensor
from microtomo.study import Study
from microtomo.viz.spectrum import resimulated


@dataclass(frozen=True)
class Readout:
    """What is known of pixel (y, x); layers bottom to top, thickness, standard deviation and truth in nm.

    ``observed`` and ``resimulated`` are signals over substrate at ``energies_kev``. None where it is not known.
    """

    y: int
    x: int
    symbols: tuple[str, ...]
    thickness: tuple[float, ...] | None
    sigma: tuple[float, ...] | None
    truth: tuple[float, ...] | None
    chi_square: float | None
    status: str
    energies_kev: tuple[float, ...]
    observed: np.ndarray | None
    resimulated: np.ndarray | None


def readout(study: Study, y: int, x: int) -> Readout:
    """The numbers of a pixel. Raises MicrotomoError for a pixel outside the image."""
    height, width = study.shape
    if not (0 <= y < height and 0 <= x < width):
        raise MicrotomoError(f"pixel {y},{x} is outside the image: rows 0..{height - 1}, columns 0..{width - 1}")

    def column(maps: Array | None) -> tuple[float, ...] | None:
        return None if maps is None else tuple(float(v) for v in as_tensor(maps)[:, y, x])

    rec, scan = study.rec, study.scan
    energies = tuple(scan.energies_kev if scan is not None else study.stack.energies_kev)
    return Readout(
        y=y,
        x=x,
        symbols=study.stack.symbols,
        thickness=None if rec is None else column(rec.thickness),
        sigma=None if rec is None else column(rec.uncertainty),
        truth=column(study.truth),
        chi_square=None if rec is None else float(as_tensor(rec.chi_square)[y, x]),
        status="" if rec is None else Status(int(as_tensor(rec.status)[y, x])).message,
        energies_kev=energies,
        observed=None if scan is None else np.asarray(as_tensor(scan.data)[:, y, x].cpu(), dtype=float),
        resimulated=None if rec is None else resimulated(rec, energies, (y, x)),
    )


def describe(pixel: Readout, energy: int) -> str:
    """One line on a pixel: signal at the energy of that number, fit and status."""
    parts = []
    if pixel.observed is not None:
        model = f", re-simulated {pixel.resimulated[energy]:.4f}" if pixel.resimulated is not None else ""
        parts.append(f"signal at {pixel.energies_kev[energy]:g} keV {pixel.observed[energy]:.4f}{model}")
    if pixel.chi_square is not None:
        parts.append(f"chi-square {pixel.chi_square:.2f}: {pixel.status}")
    return "; ".join(parts)


def readings(pixel: Readout) -> list[dict[str, str]]:
    """Rows of a table, top layer first: symbol, thickness, sigma and truth in nm, empty where not known."""
    rows = []
    for k in reversed(range(len(pixel.symbols)) if pixel.thickness or pixel.truth else []):
        digits = 2 if pixel.sigma is None or pixel.sigma[k] < 0.1 else 1
        columns = {"thickness": pixel.thickness, "sigma": pixel.sigma, "truth": pixel.truth}
        rows.append(
            {"symbol": pixel.symbols[k]}
            | {name: "" if values is None else f"{values[k]:.{digits}f}" for name, values in columns.items()}
        )
    return rows
