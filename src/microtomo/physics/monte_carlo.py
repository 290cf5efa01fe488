"""Monte Carlo of single elastic collisions: backscattered electrons of layered samples and of maps of them.

Model: continuous slowing down by Joy & Luo (Scanning 11 (1989) 176), elastic collisions by tabulated Mott
cross-sections (Czyzewski et al., J. Appl. Phys. 68 (1990) 3066) or by Browning's (J. Appl. Phys. 76 (1994)
2016). Not in it: energy straggling, secondary electrons, crystals, charging. Every electron has its own random numbers,
so the same seed gives the same exits whatever the number of threads.

    exits = simulate([("Al", 50.0), ("Au", 5.0), ("Si", None)], energy_kev=10.0, electrons=100_000, seed=1)
    eta, standard_error = exits.signal()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.materials import Material, find_material
from microtomo.physics import walk as kernel
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.exits import EVERY_ELECTRON, Exits
from microtomo.physics.walk_state import Beam, Sample, Tables
from microtomo.physics.walk_tables import (
    CUTOFF_KEV,
    PLAIN_MOTT,
    ROWS,
    TOP_KEV,
    Elastic,
    Medium,
    energy_of_row,
    farthest_return_nm,
    medium_of,
    row_of_energy,
    walk_tables,
)

__all__ = [
    "EVERY_ELECTRON", "PLAIN_MOTT", "Elastic", "Exits", "Films", "Medium", "as_medium", "line_scan", "simulate",
    "simulate_map", "stacked_tables",
]  # fmt: skip

_BATCH = 16_384  # electrons a task: some 0.1 s of work
_FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_BELOW_EVERYTHING = 1e30  # nm
Films = Sequence[tuple["str | Material | Medium", "float | None"]]


def simulate(
    films: Films,
    energy_kev: float,
    electrons: int,
    seed: int,
    *,
    elastic: Elastic = PLAIN_MOTT,
    tilt_deg: float = 0.0,
    diffuse: bool = False,
    threads: int = 1,
) -> Exits:
    """Electrons on one stack. ``films`` top to bottom, (material or its name, nm); the last is the substrate, None nm.

    ``tilt_deg`` is the angle of the beam to the surface normal; ``diffuse`` replaces the beam by electrons from
    all directions with a probability by their cosine.
    """
    if not films or films[-1][1] is not None or any(nm is None or not 0 <= nm < math.inf for _, nm in films[:-1]):
        raise MicrotomoError("films are pairs (material, nm) from top to bottom; only the substrate, last, has None nm")
    media = [as_medium(material) for material, _ in films]
    thickness = np.array([nm for _, nm in films[:-1]], dtype=np.float64)[::-1]
    sample, tables = _sample(thickness[:, None, None], media[-2::-1], media[-1], 1.0, elastic)
    beam = _beam(energy_kev, seed, tilt_deg=tilt_deg, diffuse=diffuse)
    return _exits(tables, sample, beam, energy_kev, electrons, threads)


def simulate_map(
    thickness_nm: np.ndarray,
    films: Sequence[str | Material | Medium],
    substrate: str | Material | Medium,
    pixel_nm: float,
    energy_kev: float,
    position_nm: tuple[float, float],
    electrons: int,
    seed: int,
    *,
    beam_fwhm_nm: float = 0.0,
    elastic: Elastic = PLAIN_MOTT,
    threads: int = 1,
) -> Exits:
    """Electrons of a beam at ``position_nm`` = (x, y) on a map of columns, ``thickness_nm`` (l, y, x), bottom to top.

    Pixel (i, j) covers x from j to j + 1 and y from i to i + 1 pixels; the outermost pixels go on without end. The
    surface is flat: depth counts from the local surface, as if films were sunk into the substrate.
    """
    thickness = np.asarray(thickness_nm, dtype=np.float64)
    if thickness.ndim != 3 or thickness.shape[0] != len(films) or not (thickness >= 0).all():
        raise MicrotomoError(
            f"thickness must be (layer, y, x) in nm, none below 0, {len(films)} layers; got shape {thickness.shape}"
        )
    if not pixel_nm > 0:
        raise MicrotomoError(f"pixel_nm must be above 0, got {pixel_nm}")
    media = [as_medium(film) for film in films]
    sample, tables = _sample(thickness, media, as_medium(substrate), pixel_nm, elastic)
    beam = _beam(energy_kev, seed, position_nm=position_nm, fwhm_nm=beam_fwhm_nm)
    return _exits(tables, sample, beam, energy_kev, electrons, threads)


def line_scan(
    thickness_nm: np.ndarray,
    films: Sequence[str | Material | Medium],
    substrate: str | Material | Medium,
    pixel_nm: float,
    energy_kev: float,
    positions_nm: Sequence[tuple[float, float]],
    electrons: int,
    seed: int,
    *,
    beam_fwhm_nm: float = 0.0,
    elastic: Elastic = PLAIN_MOTT,
    detector: BackscatterDetector = EVERY_ELECTRON,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Signals and standard errors at positions (x, y) of a map; see :func:`simulate_map`. Positions are independent."""
    signals = [
        simulate_map(
            thickness_nm, films, substrate, pixel_nm, energy_kev, position, electrons, seed + number,
            beam_fwhm_nm=beam_fwhm_nm, elastic=elastic, threads=threads,
        ).signal(detector)
        for number, position in enumerate(positions_nm)
    ]  # fmt: skip
    return np.array([signal for signal, _ in signals]), np.array([error for _, error in signals])


def as_medium(material: str | Material | Medium) -> Medium:
    """A medium as it is, or one of a material or of the name of a known one.

    Raises MicrotomoError for an unknown name and a material without known composition.
    """
    if isinstance(material, Medium):
        return material
    return medium_of(find_material(material) if isinstance(material, str) else material)


@lru_cache(maxsize=16)
def stacked_tables(media: tuple[Medium, ...], elastic: Elastic) -> Tables:
    """Tables of several media for the walk, clocks in table points."""
    each = [walk_tables(medium, elastic) for medium in media]
    farthest = farthest_return_nm(media)
    rows = np.linspace(0, ROWS, farthest.size)
    # the margin covers float32 rounding: an electron is given up only where it cannot come back
    depth = [np.interp(table.clock[:, 1], rows, farthest) * 1.0001 + 0.01 for table in each]
    points = [np.float32(table.scales[0]) for table in each]
    return Tables(
        clock=np.stack([np.column_stack([table.clock, d]) for table, d in zip(each, depth, strict=True)]).astype(
            np.float32
        ),
        clock_of_row=np.stack([table.clock_of_row * n for table, n in zip(each, points, strict=True)]),
        clock_of_path=np.stack([table.clock_of_path * n for table, n in zip(each, points, strict=True)]),
        deflection=np.stack([table.deflection for table in each]),
        scales=np.stack([table.scales for table in each]),
    )


def _sample(
    thickness: np.ndarray, films: Sequence[Medium], substrate: Medium, pixel_nm: float, elastic: Elastic
) -> tuple[Sample, Tables]:
    """Slabs from the top: films, substrate beside films, substrate below every film."""
    from_top = [*reversed(films), substrate, substrate]
    media = tuple(dict.fromkeys(from_top))
    layers, height, width = thickness.shape
    bottoms = np.empty((height, width, layers + 2), dtype=np.float32)
    bottoms[..., :layers] = np.moveaxis(np.cumsum(thickness[::-1], axis=0), 0, -1)
    bottoms[..., layers] = bottoms[..., :layers].max() if layers else 0.0
    bottoms[..., layers + 1] = _BELOW_EVERYTHING
    index = np.array([media.index(medium) for medium in from_top], dtype=np.int64)
    return Sample(index, bottoms, float(pixel_nm)), stacked_tables(media, elastic)


def _beam(
    energy_kev: float,
    seed: int,
    *,
    position_nm: tuple[float, float] = (0.0, 0.0),
    fwhm_nm: float = 0.0,
    tilt_deg: float = 0.0,
    diffuse: bool = False,
) -> Beam:
    if not CUTOFF_KEV < energy_kev <= TOP_KEV:
        raise MicrotomoError(
            f"beam energy {energy_kev} keV is outside what the tables cover: {CUTOFF_KEV} to {TOP_KEV} keV"
        )
    if not 0 <= tilt_deg < 90 or not 0 <= fwhm_nm < math.inf:
        raise MicrotomoError(
            f"give a tilt of 0 to below 90 degrees and a beam of 0 nm or more, not {tilt_deg}, {fwhm_nm}"
        )
    tilt = math.radians(tilt_deg)
    return Beam(
        float(position_nm[0]), float(position_nm[1]), fwhm_nm / _FWHM_PER_SIGMA, math.sin(tilt), 0.0, math.cos(tilt),
        float(row_of_energy(energy_kev)), bool(diffuse), np.uint64(seed % 2**64), 0,
    )  # fmt: skip


def _exits(tables: Tables, sample: Sample, beam: Beam, energy_kev: float, electrons: int, threads: int) -> Exits:
    if electrons < 1 or threads < 1:
        raise MicrotomoError(f"electrons and threads must be 1 or more, got {electrons} and {threads}")

    substrate = sample.media.size - 2

    def task(first: int) -> tuple[np.ndarray, np.ndarray]:
        out = np.empty((min(_BATCH, electrons - first), kernel.COLUMNS), dtype=np.float32)
        kernel.walk(tables, sample, beam._replace(first=first), out)
        out[:, kernel.DEEPEST] = np.minimum(out[:, kernel.DEEPEST], substrate)
        reached = np.bincount(out[:, kernel.DEEPEST].astype(np.int64), minlength=substrate + 1)
        return out[out[:, kernel.ENERGY_ROW] >= 0], reached

    starts = range(0, electrons, _BATCH)
    if threads == 1:
        parts = [task(first) for first in starts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(task, starts))
    left = np.concatenate([exits for exits, _ in parts]).astype(np.float64)
    return Exits(
        beam_kev=energy_kev,
        electrons=electrons,
        energy_kev=energy_of_row(left[:, kernel.ENERGY_ROW]),
        cosine=left[:, kernel.COSINE],
        x_nm=left[:, kernel.X] - beam.x_nm,
        y_nm=left[:, kernel.Y] - beam.y_nm,
        deepest=left[:, kernel.DEEPEST].astype(np.int64),
        x_in_nm=left[:, kernel.X_IN] - beam.x_nm,
        y_in_nm=left[:, kernel.Y_IN] - beam.y_nm,
        reached=np.sum([reached for _, reached in parts], axis=0),
    )
