"""Tables for the Monte Carlo: the walk of an electron in one medium, on a clock that counts elastic collisions.

An electron that slows down continuously has, at energy E, a residual path R(E) and a residual number of elastic
collisions n(E) ahead of it before it reaches the cut-off energy:

    R(E) = integral dE' / S(E'),     n(E) = integral Sigma(E') / S(E') dE'

with S the stopping power and Sigma the elastic collisions per path length. The optical depth to the next collision is
exponential, so a step is n -> n - tau, path R(n) - R(n - tau): exact, whatever the energy loss on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from microtomo.elements import ELEMENTS
from microtomo.errors import MicrotomoError
from microtomo.materials import Material
from microtomo.physics.cross_sections import atoms_per_nm3
from microtomo.physics.walk_elastic import BROWNING, MOTT, browning_elastic, mott_elastic, one_minus_cos

CUTOFF_KEV = 0.05
"""Energy where an electron is given up: below, it neither leaves nor is detected."""
TOP_KEV = 40.0
"""Highest beam energy of the tables; elastic cross-sections above 30 keV follow their power law."""

ROWS = 128  # energies of the angular tables, even in log E: 5 % apart, mixed at random in between
OCTAVES = 25  # of the tail probability: 24-bit random numbers go down to 2^-25
PER_OCTAVE = 32  # bins an octave: linear interpolation errs by (1/32)^2 / 6 = .016 % of 1 - cos at most on average
CLOCK = 4096  # points of the collision clock
FINE = 4096  # points of the inverse tables, in log E and in square root of the residual path
_INTEGRATION = 20_001  # points of the energy integrals

_AVOGADRO_PER_CM3 = 602.214076  # atoms per nm3 for 1 mol/cm3


@dataclass(frozen=True)
class Medium:
    """A homogeneous amorphous medium: its atoms as pairs (atomic number, atoms per nm3)."""

    name: str
    atoms: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.atoms or any(not 1 <= z <= 94 or not n > 0 for z, n in self.atoms):
            raise MicrotomoError(
                f"medium {self.name!r}: give pairs (atomic number 1..94, atoms per nm3 above 0), got {self.atoms}"
            )


def medium_of(material: Material) -> Medium:
    """A material as a medium. Raises MicrotomoError where nothing says which atoms it has."""
    numbers = atoms_per_nm3(material)
    return Medium(material.symbol, tuple((ELEMENTS[s].atomic_number, n) for s, n in sorted(numbers.items())))


def stopping_power(medium: Medium, energy_kev: np.ndarray) -> np.ndarray:
    """Joy & Luo (Scanning 11 (1989) 176) stopping power [keV/nm]; Bragg's rule; J of Berger & Seltzer (1964)."""
    total = np.zeros_like(energy_kev, dtype=np.float64)
    for z, number in medium.atoms:
        j = 1e-3 * (11.5 * z if z < 13 else 9.76 * z + 58.5 * z**-0.19)
        k = 0.815 if z < 20 else 0.8515  # Joy & Luo: .77 for C to .85 for Au
        rho_over_a = number / _AVOGADRO_PER_CM3
        total += 78500e-7 * rho_over_a * z / energy_kev * np.log(1.166 * (energy_kev + k * j) / j)
    return total


@dataclass(frozen=True)
class Elastic:
    """What scatters: ``family`` (``mott`` or ``browning``) and whether cross-sections carry the factor (Z + 1)/Z.

    The factor stands for the deflection in inelastic collisions.
    """

    family: str = MOTT
    inelastic_deflection: bool = False

    def __post_init__(self) -> None:
        if self.family not in (MOTT, BROWNING):
            raise MicrotomoError(f"cross-section family {self.family!r} is unknown: use {MOTT} or {BROWNING}")


PLAIN_MOTT = Elastic()
"""Tabulated Mott cross-sections as they are."""


@dataclass(frozen=True)
class WalkTables:
    """Everything the walk in one medium looks up. float32 unless said.

    ``clock`` (CLOCK + 1, 2): residual path [nm] and energy row at even steps of the collision clock.
    ``clock_of_row`` (FINE + 1,): clock at even steps of the energy row. ``clock_of_path`` (FINE + 1,): clock at even
    steps of the square root of the residual path. ``deflection`` (ROWS + 1, bins): 1 - cos of the scattering angle
    at the edges of the bins of the tail probability. ``scales`` (3,) float64: clock points a collision, points a
    row, points a square root of nm.
    """

    clock: np.ndarray
    clock_of_row: np.ndarray
    clock_of_path: np.ndarray
    deflection: np.ndarray
    scales: np.ndarray


def farthest_return_nm(media: tuple[Medium, ...]) -> np.ndarray:
    """Longest path through any sequence of the media, at energies even in row from CUTOFF_KEV to TOP_KEV [nm]."""
    energies = energy_of_row(np.linspace(0, ROWS, _INTEGRATION))
    weakest = np.min([stopping_power(medium, energies) for medium in media], axis=0)
    return _cumulative(energies / weakest, np.log(energies))


def row_of_energy(energy_kev: np.ndarray | float) -> np.ndarray:
    """Place of an energy on the rows of the tables, 0..ROWS."""
    return np.asarray(np.log(np.asarray(energy_kev) / CUTOFF_KEV) * (ROWS / np.log(TOP_KEV / CUTOFF_KEV)))


def energy_of_row(row: np.ndarray | float) -> np.ndarray:
    """Inverse of :func:`row_of_energy` [keV]."""
    return np.asarray(CUTOFF_KEV * np.exp(np.asarray(row) * (np.log(TOP_KEV / CUTOFF_KEV) / ROWS)))


def tail_edges() -> np.ndarray:
    """Edges of the bins of the tail probability, 2^-25 to 1: PER_OCTAVE even bins in each octave."""
    octaves = 2.0 ** np.arange(-OCTAVES, 0)
    edges = octaves[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)
    return np.append(edges.ravel(), 1.0)


@lru_cache(maxsize=32)
def walk_tables(medium: Medium, elastic: Elastic = PLAIN_MOTT) -> WalkTables:
    """Tables of one medium, 1 s an element at first, kept in memory."""
    rows = np.arange(ROWS + 1)
    sigma, tail = _mixture(medium, elastic, energy_of_row(rows))
    fine_rows = np.linspace(0, ROWS, _INTEGRATION)
    energies = energy_of_row(fine_rows)
    collisions = np.exp(np.interp(fine_rows, rows, np.log(sigma)))
    per_energy = energies / stopping_power(medium, energies)  # d(path)/d(ln E)
    log_energy = np.log(energies)
    path = _cumulative(per_energy, log_energy)
    clock = _cumulative(per_energy * collisions, log_energy)
    clock_points = np.linspace(0, clock[-1], CLOCK + 1)
    path_points = np.linspace(0, np.sqrt(path[-1]), FINE + 1) ** 2
    on_clock = np.stack([np.interp(clock_points, clock, path), np.interp(clock_points, clock, fine_rows)], axis=1)
    scales = np.array([CLOCK / clock[-1], FINE / ROWS, FINE / np.sqrt(path[-1])])
    return WalkTables(
        clock=on_clock.astype(np.float32),
        clock_of_row=np.interp(np.linspace(0, ROWS, FINE + 1), fine_rows, clock).astype(np.float32),
        clock_of_path=np.interp(path_points, path, clock).astype(np.float32),
        deflection=_deflections(tail).astype(np.float32),
        scales=scales,
    )


def _mixture(medium: Medium, elastic: Elastic, energies_kev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Collisions per nm (row,) and tail probabilities (row, angle) of a medium's atoms together."""
    law: Callable[[int, tuple[float, ...]], tuple[np.ndarray, np.ndarray]]
    law = mott_elastic if elastic.family == MOTT else browning_elastic
    total, tails = np.zeros(energies_kev.size), 0.0
    for z, number in medium.atoms:
        sigma, tail = law(z, tuple(energies_kev))
        per_nm = number * sigma * ((z + 1) / z if elastic.inelastic_deflection else 1.0)
        total, tails = total + per_nm, tails + per_nm[:, None] * tail
    return total, np.asarray(tails) / total[:, None]


def _deflections(tail: np.ndarray) -> np.ndarray:
    edges = tail_edges()
    deflection = np.empty((tail.shape[0], edges.size))
    for row, tails in enumerate(tail):
        deflection[row] = np.interp(edges, tails[::-1], one_minus_cos()[::-1])
    return deflection


def _cumulative(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(at))])
