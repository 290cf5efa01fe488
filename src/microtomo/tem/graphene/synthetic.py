"""Synthetic micrographs of graphene with exact labels: where amorphous carbon lies, where nothing is, every atom.

The structures and conditions are those of the images of Sadre et al., Microsc. Microanal. 27 (2021) 804: 80 kV,
1e3 to 1e4 electrons per square angstrom, white and black atoms, grain boundaries, ripple, holes, contaminants.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import fft

from microtomo.errors import MicrotomoError
from microtomo.seeds import MICROGRAPHS, derive_seed
from microtomo.tem.graphene.fields import blob, smooth_field
from microtomo.tem.graphene.lattice import bicrystal, sheet
from microtomo.tem.graphene.phase_contrast import Optics, expose, phase_per_atom
from microtomo.tem.illumination import bernstein

_MARGIN = 16  # pixels around the image that keep what wraps around out of it
_FINEST_NM = 0.04  # pixel that atoms are put on, so that no beam beyond the transfer is folded back
_DENSITY = 100.0  # atoms per nm^3 of amorphous carbon of 2 g/cm^3
_LAYER = 0.34  # nm between graphitic layers

Range = tuple[float, float]


@dataclass(frozen=True)
class Conditions:
    """What samples are drawn from: ranges (uniform, of both signs for defocus; * log-uniform) and probabilities."""

    size: int = 256
    pixel_nm: Range = (0.026, 0.075)  # *
    defocus_nm: Range = (2.0, 14.0)
    astigmatism_nm: Range = (0.0, 3.0)
    spherical_um: Range = (-12.0, 12.0)
    focal_spread_nm: Range = (1.0, 3.5)
    dose_per_a2: Range = (1e3, 1e4)  # *
    blur_px: Range = (0.0, 0.5)
    illumination: Range = (0.02, 0.35)
    unevenness: Range = (0.0, 0.012)
    ripple_nm: Range = (0.0, 0.8)
    strain: Range = (0.0, 0.006)
    thickness_nm: Range = (0.35, 1.8)  # *
    boundary: float = 0.55
    hole: float = 0.15
    clean: float = 0.04
    fringes: float = 0.4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise MicrotomoError(f"{field.name} {value}: give a range (least, most)")
        if self.size < 32 or self.pixel_nm[0] <= 0 or self.dose_per_a2[0] <= 0:
            raise MicrotomoError("size must be at least 32, pixel_nm and dose_per_a2 positive")


@dataclass(frozen=True)
class GrapheneImage:
    """A synthetic image and what is on it.

    ``image`` (y, x) counts, float32; ``contaminant`` and ``vacuum`` (y, x) bool; ``atoms`` (n, 2) positions of the
    graphene's atoms [px], y first, pixel centres at whole numbers; ``rings`` pentagons and heptagons in the boundary
    before contaminants and holes; the conditions it was drawn with.
    """

    image: np.ndarray
    contaminant: np.ndarray
    vacuum: np.ndarray
    atoms: np.ndarray
    rings: tuple[int, int]
    pixel_nm: float
    dose_per_a2: float
    optics: Optics


def micrograph(seed: int, index: int = 0, conditions: Conditions | None = None) -> GrapheneImage:
    """Sample ``index`` of the set of ``seed``: the same bytes whenever and in whatever order it is asked for.

    Raises MicrotomoError for a seed or index out of range.
    """
    c = conditions or Conditions()
    rng = np.random.default_rng(derive_seed(seed, MICROGRAPHS, index, 0))
    pixel_nm = _log_uniform(rng, c.pixel_nm)
    optics = Optics(
        rng.uniform(*c.defocus_nm) * rng.choice((-1, 1)),
        rng.uniform(*c.astigmatism_nm),
        rng.uniform(0, np.pi),
        rng.uniform(*c.spherical_um),
        rng.uniform(*c.focal_spread_nm),
    )
    side = c.size + 2 * _MARGIN
    atoms, rings = _atoms(side * pixel_nm, c, rng)
    thickness, vacuum = _cover(side, pixel_nm, c, rng)
    row, column = (np.clip(np.round(atoms / pixel_nm).astype(int), 0, side - 1)).T
    atoms = atoms[~vacuum[row, column]]
    ripple = rng.uniform(*c.ripple_nm) * smooth_field((side, side), min(side / 2, 5.0 / pixel_nm), rng)
    intensity = 1 + _contrast(atoms, ripple, thickness, pixel_nm, optics, rng)
    inner = slice(_MARGIN, -_MARGIN)
    dose = _log_uniform(rng, c.dose_per_a2)
    lit = intensity[inner, inner] * _illumination(c.size, rng.uniform(*c.illumination), rng)
    lit *= 1 + rng.uniform(*c.unevenness) * smooth_field(lit.shape, c.size / 6, rng)
    image = expose(lit, dose * 100 * pixel_nm**2, rng.uniform(*c.blur_px), rng)
    places = atoms / pixel_nm - _MARGIN
    seen = ((places > -0.5) & (places < c.size - 0.5)).all(1)
    return GrapheneImage(
        image, thickness[inner, inner] > 0, vacuum[inner, inner], places[seen], rings, pixel_nm, dose, optics
    )


def _atoms(size_nm: float, c: Conditions, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """Atoms (n, 2) [nm] of one or two strained sheets, and the rings of 5 and 7 between them."""
    box, rings = (size_nm, size_nm), (0, 0)
    angles = rng.uniform(0, np.pi / 3, 2)
    shifts = rng.uniform(0, 0.25, (2, 2))
    direction, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.75) * size_nm
    waves = [(rng.uniform(0, 0.06) * w, w, rng.uniform(0, 2 * np.pi)) for w in (rng.uniform(3, 8), rng.uniform(8, 20))]

    def distance(points: np.ndarray) -> np.ndarray:
        y, x = points[:, 0] - 0.5 * size_nm, points[:, 1] - 0.5 * size_nm
        along, across = y * np.cos(direction) - x * np.sin(direction), y * np.sin(direction) + x * np.cos(direction)
        wavy = sum(height * np.sin(2 * np.pi * along / length + phase) for height, length, phase in waves)
        return np.asarray(across - (offset - 0.5 * size_nm) - wavy)

    if rng.random() < c.boundary:
        sides = (tuple(shifts[0]), tuple(shifts[1]))
        atoms, rings = bicrystal(box, (angles[0], angles[1]), sides, distance)
    else:
        atoms = sheet(box, angles[0], tuple(shifts[0]))
    strain = rng.uniform(*c.strain)
    for axis in range(2):
        for other in range(2):
            length = rng.uniform(6, 25)
            wave = 2 * np.pi * atoms[:, other] / length + rng.uniform(0, 2 * np.pi)
            atoms[:, axis] += strain * length / (2 * np.pi) * np.sin(wave)
    return atoms, rings


def _cover(side: int, pixel_nm: float, c: Conditions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Thickness (y, x) [nm] of the amorphous carbon, 0 where none is, and where there is not even graphene."""
    shape, whole = (side, side), np.full((side, side), -1.0, dtype=np.float32)
    if rng.random() >= c.clean:
        for _ in range(rng.integers(1, 5)):
            radius = side * rng.uniform(0.04, 0.2) * (2.2 if rng.random() < 0.12 else 1)
            np.maximum(whole, blob(shape, tuple(rng.uniform(0, side, 2)), radius, rng), out=whole)
    whole += 0.2 * smooth_field(shape, max(4.0, 1.0 / pixel_nm), rng)
    hole = np.zeros(shape, dtype=bool)
    if rng.random() < c.hole:
        hole = blob(shape, tuple(rng.uniform(0, side, 2)), side * rng.uniform(0.04, 0.35), rng) > 0
    inside = (whole > 0) & ~hole
    # steep at the rim, uneven inside
    uneven = 1 + 0.5 * smooth_field(shape, max(4.0, 0.6 / pixel_nm), rng)
    height = np.float32(_log_uniform(rng, c.thickness_nm)) * np.minimum(1, 0.4 + 3 * whole) * np.clip(uneven, 0.15, 3)
    if rng.random() < c.fringes:
        height += _edge_layers(whole, inside, pixel_nm, rng)
    return np.where(inside, height, np.float32(0)), hole


def _edge_layers(whole: np.ndarray, inside: np.ndarray, pixel_nm: float, rng: np.random.Generator) -> np.ndarray:
    """Thickness (y, x) [nm] of graphitic layers on edge along the rim, 0.34 nm apart, for parts of the rim."""
    from scipy.ndimage import distance_transform_edt

    depth = np.float32(pixel_nm) * distance_transform_edt(inside).astype(np.float32)
    layers, where = rng.integers(1, 4), smooth_field(whole.shape, max(8.0, 3 / pixel_nm), rng) > 0
    place = depth / np.float32(_LAYER)
    ridge = np.exp(-0.5 * ((place - np.round(place)) / 0.16) ** 2) * (place > 0.5) * (place < layers + 0.5)
    return np.asarray(np.float32(rng.uniform(0.6, 2)) * ridge * where, dtype=np.float32)


def _contrast(
    atoms: np.ndarray,
    ripple: np.ndarray,
    thickness: np.ndarray,
    pixel_nm: float,
    optics: Optics,
    rng: np.random.Generator,
) -> np.ndarray:
    """Intensity (y, x) less the beam's: each atom's phase through the transfer at its own height, to first order."""
    side = len(ripple)
    qy, qx = fft.fftfreq(side, pixel_nm)[:, None], fft.rfftfreq(side, pixel_nm)[None]
    at_focus, by_defocus = optics.transfer(qy, qx)
    q = np.hypot(qy, qx)
    phase = phase_per_atom(q, optics.energy_kev)
    row, column = (np.clip(np.round(atoms / pixel_nm).astype(int), 0, side - 1)).T
    flat, lifted = _put(atoms, ripple[row, column], side, pixel_nm)
    # Random atoms: their number per pixel has the variance of its mean, less what their distance forbids.
    mean = (_DENSITY * pixel_nm**2) * thickness
    grain = np.sqrt(_order(q)).astype(np.float32)
    random = fft.irfft2(
        fft.rfft2(np.sqrt(mean) * rng.standard_normal(mean.shape, dtype=np.float32)) * grain, s=mean.shape
    )
    depth = thickness / np.sqrt(12) * np.sqrt(mean) * rng.standard_normal(mean.shape, dtype=np.float32)
    number = (mean + random) / pixel_nm**2
    height = (ripple + 0.5 * thickness) * number + depth / pixel_nm**2
    spectrum = (flat + fft.rfft2(number)) * (phase * at_focus).astype(np.float32)
    spectrum += (lifted + fft.rfft2(height)) * (phase * by_defocus).astype(np.float32)
    spectrum[0, 0] = 0
    return np.asarray(fft.irfft2(spectrum, s=(side, side)))


def _order(q: np.ndarray) -> np.ndarray:
    """Structure factor of amorphous carbon at ``q`` [1/nm]: maxima at 4.6 and 8.6 (Li & Lannin, PRL 65 (1990) 1905)."""
    rings = 0.9 * np.exp(-0.5 * ((q - 4.6) / 0.7) ** 2) + 0.6 * np.exp(-0.5 * ((q - 8.6) / 0.9) ** 2)
    return np.asarray(0.45 + 0.55 * (1 - np.exp(-((q / 6) ** 2))) + rings)


def _put(atoms: np.ndarray, heights: np.ndarray, side: int, pixel_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Half spectra (side, side // 2 + 1) [1/nm^2 per pixel] of the atoms, and of the atoms times their heights."""
    fine = int(np.ceil(pixel_nm / _FINEST_NM))
    n = side * fine
    place = atoms * (fine / pixel_nm)
    low = np.floor(place).astype(np.int64)
    part = (place - low).astype(np.float32)
    y0, x0 = low.T % n
    y1, x1 = (y0 + 1) % n, (x0 + 1) % n
    fy, fx = part.T
    cells = np.concatenate([y0 * n + x0, y0 * n + x1, y1 * n + x0, y1 * n + x1])
    shares = np.concatenate([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])
    # What sharing between four pixels damps is given back.
    damping_y = np.sinc(fft.fftfreq(side, fine)[:, None]) ** 2
    damping_x = np.sinc(fft.rfftfreq(side, fine)[None]) ** 2
    gain = (1 / (damping_y * damping_x * pixel_nm**2)).astype(np.float32)

    def spectrum(weights: np.ndarray) -> np.ndarray:
        grid = np.bincount(cells, weights, minlength=n * n).reshape(n, n).astype(np.float32)
        half, edge = fft.rfft2(grid, overwrite_x=True), side // 2
        rows = np.concatenate([half[:edge], half[n - (side - edge) :]])
        return np.asarray(rows[:, : side // 2 + 1] * gain)

    return spectrum(shares), spectrum(shares * np.tile(heights.astype(np.float32), 4))


def _illumination(size: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Beam (y, x) relative to its mean: a Bezier surface whose coefficients vary by ``amount``."""
    basis = bernstein(size)
    surface = basis @ (1 + amount * rng.uniform(-1, 1, (3, 3))) @ basis.T
    return np.asarray(surface / surface.mean())


def _log_uniform(rng: np.random.Generator, between: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(between))))
