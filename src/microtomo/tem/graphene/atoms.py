"""Atoms, bonds and rings of graphene on a micrograph.

After Ophus, Shekhawat, Rasool & Zettl, Phys. Rev. B 92 (2015) 205402 and Fig. 5 of Sadre et al., Microsc. Microanal.
27 (2021) 804: candidate atoms, those in contaminants dropped, neighbours within a distance bonded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import Delaunay, cKDTree

from microtomo.errors import MicrotomoError
from microtomo.registry import measurement
from microtomo.scan import Array
from microtomo.tem.graphene.bragg import find_peaks
from microtomo.tem.graphene.contaminant import SMALLEST_PX
from microtomo.tem.graphene.lattice import LATTICE_NM
from microtomo.tem.illumination import normalise
from microtomo.tem.measurement import Column, Lines, Measured, Points, Scale
from microtomo.tem.segmentation import Segmentation, checked

BONDED_NM = 0.185
"""Distance within which two atoms are bonded: 1.3 bonds of 0.142 nm, as in Fig. 5 of Sadre et al."""

_FIVE, _SEVEN = "#56B4E9", "#E69F00"  # colours of rings, of the palette of Okabe and Ito
_PLANES_NM = LATTICE_NM * float(np.sqrt(0.75))  # {10-10}
_BORDER = 16  # pixels mirrored at each side
_LEAST = 0.35  # of the usual height of a maximum: lower are vacuum and noise
_SIDES = (0.55, 1.55)  # lattice constants between neighbouring rings, also around pentagons and heptagons
_REGULAR = 0.04  # deviation of the corners of a hexagon of beams, relative to its radius
_COARSEST = 2.6  # pixels between {10-10} planes, below which two atoms run together


@dataclass(frozen=True)
class AtomNetwork:
    """Atoms and bonds on a micrograph.

    ``atoms`` (n, 2) positions [px], y first; ``bonds`` (m, 2) indices of atoms; ``angles`` (m,) directions of the bonds
    modulo 60 [degrees, from x towards y]; ``rings`` number of closed rings by their size, ``ring_of`` (n,) the size of
    the smallest odd ring (5 or 7) that an atom belongs to, 0 without any. ``white`` says whether atoms are bright.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    angles: np.ndarray
    rings: dict[int, int]
    ring_of: np.ndarray
    pixel_nm: float
    white: bool

    @property
    def neighbours(self) -> np.ndarray:
        """Number of bonds of each atom (n,)."""
        return np.bincount(self.bonds.ravel(), minlength=len(self.atoms))


def find_network(
    image: Array,
    mask: np.ndarray | None = None,
    pixel_nm: float | None = None,
    bond_nm: float = BONDED_NM,
    white: bool | None = None,
) -> AtomNetwork:
    """Atoms and bonds of graphene on a micrograph (y, x) of raw counts.

    ``mask`` (y, x) is True where contaminants are: no atom is taken there. The pixel size is measured from the
    {10-10} beams (0.213 nm) unless given, the sign of the contrast from the image unless ``white`` says it. Atoms
    closer than ``bond_nm`` are bonded. Raises MicrotomoError where there is no lattice or its atoms are not resolved.
    """
    pixels = checked(image, SMALLEST_PX)
    if mask is not None and mask.shape != pixels.shape:
        raise MicrotomoError(f"the mask is {mask.shape} but the image is {pixels.shape}: give the mask of this image")
    flat = normalise(pixels)
    pixel_nm = measure_pixel_nm(flat) if pixel_nm is None else pixel_nm
    if not pixel_nm > 0:
        raise MicrotomoError(f"pixel_nm {pixel_nm:g}: must be a positive size in nm")
    if _PLANES_NM / pixel_nm < _COARSEST:
        raise MicrotomoError(
            f"pixels of {pixel_nm:.3f} nm do not resolve atoms: take images of {_PLANES_NM / _COARSEST:.3f} nm or finer"
        )
    free = np.ones(flat.shape, dtype=bool) if mask is None else ~mask
    if white is None:
        # The first beams alone give deep wells amid the rings and shallow hills on the atoms, or the reverse.
        white = bool((_beams(flat, pixel_nm, 0.45)[free] ** 3).mean() < 0)
    beams = _beams(flat, pixel_nm, 0.9)
    atoms = _candidates(-beams if white else beams, free, pixel_nm)
    bonds = _bonds(atoms, bond_nm / pixel_nm)
    rings, ring_of = _rings(atoms, bonds)
    vector = atoms[bonds[:, 1]] - atoms[bonds[:, 0]]
    angles = np.degrees(np.arctan2(vector[:, 0], vector[:, 1])) % 60.0
    return AtomNetwork(atoms, bonds, angles, rings, ring_of, pixel_nm, white)


@measurement("atoms", task="contaminant", tables=("atoms", "bonds"), names_image=False)
def measure_atoms(
    image: Array,
    segmentation: Segmentation,
    pixel_nm: float | None,
    *,
    bond_nm: Annotated[float, "Atoms closer than this are bonded."] = BONDED_NM,
) -> Measured:
    """Atoms, bonds and defect rings of graphene: contaminants left out, tables and a picture.

    Without a pixel size it is measured from the lattice. Raises MicrotomoError as :func:`find_network`.
    """
    network = find_network(image, segmentation.mask, pixel_nm, bond_nm)
    rings = {size: network.rings.get(size, 0) for size in (5, 6, 7)}
    summary = {
        "atoms": len(network.atoms),
        "bonds": len(network.bonds),
        "rings": rings,
        "pixel_nm": network.pixel_nm,
        "contrast": "white" if network.white else "black",
        "covered": segmentation.shares[1],
    }
    sentence = (
        f"{summary['atoms']} {summary['contrast']} atoms, {summary['bonds']} bonds, rings of 5, 6, 7: "
        f"{rings[5]}, {rings[6]}, {rings[7]}; pixel {network.pixel_nm:.4f} nm; {summary['covered']:.1%} contaminated"
    )
    tables = {"atoms": _atom_columns(network), "bonds": _bond_columns(network)}
    return Measured(tables, summary, sentence, _marks(network), pixel_nm=network.pixel_nm)


def _atom_columns(network: AtomNetwork) -> tuple[Column, ...]:
    y, x = network.atoms.T
    return (
        Column("atom", range(len(network.atoms))),
        Column("y_px", y, ".3f"),
        Column("x_px", x, ".3f"),
        Column("y_nm", y * network.pixel_nm, ".4f"),
        Column("x_nm", x * network.pixel_nm, ".4f"),
        Column("bonds", network.neighbours),
        Column("defect_ring", network.ring_of),
    )


def _bond_columns(network: AtomNetwork) -> tuple[Column, ...]:
    first, second = network.bonds.T
    length_px = np.hypot(*(network.atoms[first] - network.atoms[second]).T)
    return (
        Column("atom", first),
        Column("other", second),
        Column("length_nm", length_px * network.pixel_nm, ".4f"),
        Column("angle_modulo_60", network.angles, ".2f"),
    )


def _marks(network: AtomNetwork) -> tuple[Lines | Points, ...]:
    """Bonds coloured by their angle, so that each grain has one colour, atoms as dots, and defect rings."""
    # a cyclic map: 0 is 60 degrees
    scale = Scale(network.angles, (0, 60), "bond angle modulo 60°", "twilight", (0, 15, 30, 45, 60))
    odd = [
        Points(network.atoms[network.ring_of == size], colour, 3, f"{network.rings.get(size, 0)} rings of {size}")
        for size, colour in ((5, _FIVE), (7, _SEVEN))
    ]
    return (Lines(network.atoms[network.bonds], scale), Points(network.atoms, "white", 1.5), *odd)


def measure_pixel_nm(flat: np.ndarray) -> float:
    """Pixel size [nm] from the Bragg peaks of a normalised image (y, x): the innermost hexagon is {10-10}, 0.213 nm.

    Raises MicrotomoError where no peaks form a hexagon.
    """
    half = find_peaks(flat, 0.8) @ np.array([1j, 1.0])
    peaks = np.concatenate([half, -half])
    hexagons = []
    for peak in half:
        corners = [peak]
        for turn in (np.exp(1j * np.pi / 3), np.exp(-1j * np.pi / 3)):
            nearest = peaks[np.abs(peaks - peak * turn).argmin()]
            if abs(nearest - peak * turn) < _REGULAR * abs(peak):
                corners.append(nearest)
        if len(corners) == 3:
            hexagons.append(float(np.abs(corners).mean()))
    if not hexagons:
        raise MicrotomoError("no graphene lattice is seen on the image: check it, or give the pixel size")
    # Both sheets and both neighbours give one hexagon several times.
    inner = min(hexagons)
    return float(np.mean([q for q in hexagons if q < (1 + _REGULAR) * inner]) * _PLANES_NM)


def _beams(flat: np.ndarray, pixel_nm: float, width: float) -> np.ndarray:
    """The image (y, x) of spatial frequencies around the {10-10} beams, ``width`` [1/nm] to both sides."""
    padded = np.pad(flat, _BORDER, mode="symmetric")
    q = np.hypot(fft.fftfreq(padded.shape[0], pixel_nm)[:, None], fft.rfftfreq(padded.shape[1], pixel_nm)[None])
    ring = np.exp(-0.5 * ((q - 1 / _PLANES_NM) / width) ** 2).astype(np.float32)
    whole = fft.irfft2(fft.rfft2(padded) * ring, s=padded.shape)
    return np.asarray(whole[_BORDER:-_BORDER, _BORDER:-_BORDER])


def _candidates(height: np.ndarray, free: np.ndarray, pixel_nm: float) -> np.ndarray:
    """Atoms (n, 2) [px] from the image of the beams, high at the centres of rings.

    The centre of a ring stands out three times as much as an atom does, and each atom lies amid three of them: atoms
    are the centroids of the triangles between neighbouring centres.
    """
    centres = _maxima(height, pixel_nm)
    if len(centres) < 4:
        return np.empty((0, 2))
    corners = centres[Delaunay(centres).simplices]
    sides = np.hypot(*np.moveaxis(corners - np.roll(corners, 1, axis=1), -1, 0)) * (pixel_nm / LATTICE_NM)
    atoms = corners.mean(1)[((sides > _SIDES[0]) & (sides < _SIDES[1])).all(1)]
    row, column = np.round(atoms).astype(int).T
    return np.asarray(atoms[free[row, column]])


def _maxima(height: np.ndarray, pixel_nm: float) -> np.ndarray:
    """Maxima (n, 2) [px], to a fraction of a pixel, that stand out as the centres of rings do."""
    reach = 0.6 * LATTICE_NM / pixel_nm
    y, x = np.mgrid[-int(reach) : int(reach) + 1, -int(reach) : int(reach) + 1]
    top = height == ndimage.maximum_filter(height, footprint=np.hypot(y, x) <= reach, mode="nearest")
    top[[0, -1]] = top[:, [0, -1]] = False
    rows, columns = np.nonzero(top & (height > 0))
    if len(rows) == 0:
        return np.empty((0, 2))
    keep = height[rows, columns] > _LEAST * np.median(height[rows, columns])
    rows, columns = rows[keep], columns[keep]
    # A paraboloid through the nine pixels around (least squares) has its vertex at the centre.
    around = np.stack([height[rows + dy, columns + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=1)
    dy, dx = (offset.ravel() for offset in np.mgrid[-1:2, -1:2])
    design = np.stack([np.ones(9), dy, dx, dy**2, dx**2, dy * dx], axis=1)
    _, gy, gx, hy, hx, cross = np.linalg.pinv(design) @ around.T
    determinant = 4 * hy * hx - cross**2
    good = determinant > 1e-12
    shift = np.stack([cross * gx - 2 * hx * gy, cross * gy - 2 * hy * gx]) / np.where(good, determinant, 1)
    return np.asarray(np.stack([rows, columns], axis=1) + np.clip(np.where(good, shift, 0), -0.7, 0.7).T)


def _bonds(atoms: np.ndarray, reach_px: float) -> np.ndarray:
    """Pairs (m, 2) of atoms within reach, no atom with more than its three nearest."""
    if len(atoms) < 2:
        return np.empty((0, 2), dtype=np.int64)
    pairs = cKDTree(atoms).query_pairs(reach_px, output_type="ndarray")
    length = np.hypot(*(atoms[pairs[:, 0]] - atoms[pairs[:, 1]]).T)
    used, kept = np.zeros(len(atoms), dtype=int), []
    for a, b in pairs[np.argsort(length, kind="stable")]:
        if used[a] < 3 and used[b] < 3:
            used[a] += 1
            used[b] += 1
            kept.append((a, b))
    return np.array(sorted(kept), dtype=np.int64).reshape(-1, 2)


def _rings(atoms: np.ndarray, bonds: np.ndarray) -> tuple[dict[int, int], np.ndarray]:
    """Faces of the drawing of the bonds: how many of each size (3 to 9), and each atom's smallest of 5 or 7."""
    around: list[list[int]] = [[] for _ in range(len(atoms))]
    for a, b in bonds:
        around[a].append(int(b))
        around[b].append(int(a))
    following: dict[tuple[int, int], int] = {}
    for a, others in enumerate(around):
        vector = atoms[others] - atoms[a]
        turn = [others[k] for k in np.argsort(np.arctan2(vector[:, 0], vector[:, 1]))]
        for k, b in enumerate(turn):
            following[b, a] = turn[k - 1]  # arriving from b, leave by the next bond in turn
    sizes: dict[int, int] = {}
    ring_of = np.zeros(len(atoms), dtype=np.int64)
    open_edges = dict.fromkeys(following)
    while open_edges:
        edge, _ = open_edges.popitem()
        face, step = [edge[0]], edge
        while (step := (step[1], following[step])) != edge:
            open_edges.pop(step, None)
            face.append(step[0])
        size = len(face)
        if not (3 <= size <= 9 and len(set(face)) == size and _turns_inside(atoms[face])):
            continue
        sizes[size] = sizes.get(size, 0) + 1
        if size in (5, 7):
            members = np.array(face)
            ring_of[members] = np.where(ring_of[members] == 5, 5, size)
    return dict(sorted(sizes.items())), ring_of


def _turns_inside(corners: np.ndarray) -> bool:
    """Whether a face is traced in the direction of those inside: the outer one runs the other way."""
    y, x = corners.T
    return bool((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0)
