"""Atoms, bonds and rings against synthetic images whose atoms are known, and against drawings made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from microtomo.errors import MicrotomoError
from microtomo.tem.graphene.atoms import _bonds, _rings, find_network
from microtomo.tem.graphene.lattice import BOND_NM, sheet
from microtomo.tem.graphene.synthetic import Conditions, micrograph

GOOD = Conditions(
    pixel_nm=(0.03, 0.045), defocus_nm=(4, 8), astigmatism_nm=(0, 1), spherical_um=(-3, 3), dose_per_a2=(8e3, 1e4),
    boundary=1,
)  # fmt: skip


def away_from_the_edge(atoms, margin=8):
    return ((atoms > margin) & (atoms < 256 - margin)).all(1)


@pytest.mark.parametrize("index", range(4))
def test_known_atoms_are_found_in_their_places(index):
    sample = micrograph(21, index, GOOD)
    network = find_network(sample.image, sample.contaminant)
    assert network.white == (sample.optics.defocus_nm < 0)
    assert network.pixel_nm == pytest.approx(sample.pixel_nm, rel=0.015)
    row, column = np.round(sample.atoms).astype(int).clip(0, 255).T
    known = sample.atoms[~sample.contaminant[row, column] & away_from_the_edge(sample.atoms)]
    distance, _ = cKDTree(network.atoms).query(known)
    within = 0.05 / sample.pixel_nm  # a third of a bond
    assert (distance < within).mean() > 0.95
    assert np.sqrt((distance[distance < within] ** 2).mean()) * sample.pixel_nm < 0.012
    back, _ = cKDTree(sample.atoms).query(network.atoms[away_from_the_edge(network.atoms)])
    assert (back < within).mean() > 0.98


def test_no_atom_is_taken_inside_the_mask():
    sample = micrograph(21, 0, GOOD)
    mask = np.zeros((256, 256), bool)
    mask[:, :128] = True
    atoms = find_network(sample.image, mask).atoms
    assert len(atoms) > 100
    assert (np.round(atoms[:, 1]) >= 128).all()


def test_pentagons_and_heptagons_of_a_boundary_are_counted():
    sample = micrograph(3, 1, replace(GOOD, clean=1, hole=0, dose_per_a2=(1e5, 1e5), strain=(0, 0), ripple_nm=(0, 0)))
    rings = find_network(sample.image).rings
    # the true number includes rings in the margin around the image
    share = 256**2 / 288**2
    assert sample.rings[0] > 5
    for size, true in zip((5, 7), sample.rings, strict=True):
        assert 0.6 * share * true - 1 <= rings[size] <= true + 1
    assert rings[6] > 20 * rings[5]


def test_a_perfect_sheet_has_hexagons_alone_and_bonds_of_two_angles():
    sample = micrograph(5, 0, replace(GOOD, boundary=0, clean=1, hole=0, dose_per_a2=(1e5, 1e5), strain=(0, 0)))
    network = find_network(sample.image)
    assert set(network.rings) == {6}
    inner = away_from_the_edge(network.atoms, 20)
    assert (network.neighbours[inner] == 3).all()
    # bonds of a sheet are 60 degrees apart: modulo 60 there is one direction
    assert np.abs(np.exp(1j * np.radians(6 * network.angles)).mean()) > 0.95
    length = np.hypot(*(network.atoms[network.bonds[:, 0]] - network.atoms[network.bonds[:, 1]]).T)
    assert length.mean() * network.pixel_nm == pytest.approx(0.142, rel=0.02)


def test_a_stone_wales_defect_is_two_pentagons_and_two_heptagons():
    atoms = sheet((3.0, 3.0), 0.0)
    middle = np.array([1.5, 1.5])
    first = np.hypot(*(atoms - middle).T).argmin()
    second = np.argsort(np.hypot(*(atoms - atoms[first]).T))[1]
    centre = atoms[[first, second]].mean(0)
    # the bond turned by 90 degrees; its atoms then bond to those on their new side
    for k in (first, second):
        y, x = atoms[k] - centre
        atoms[k] = centre + np.array([-x, y])
    bonds = [tuple(sorted(map(int, b))) for b in _bonds(np.delete(atoms, [first, second], 0), 1.1 * BOND_NM)]
    names = np.delete(np.arange(len(atoms)), [first, second])
    pairs = {tuple(sorted((int(names[a]), int(names[b])))) for a, b in bonds} | {
        tuple(sorted((int(first), int(second))))
    }
    ends = [k for k in names if 0.1 < np.hypot(*(atoms[k] - centre)) < 0.25][:4]
    for k in ends:
        nearest = min((first, second), key=lambda m: np.hypot(*(atoms[k] - atoms[m])))
        pairs.add(tuple(sorted((int(k), int(nearest)))))
    rings, ring_of = _rings(atoms, np.array(sorted(pairs)))
    assert rings[5] == rings[7] == 2
    assert set(rings) <= {5, 6, 7}
    assert (ring_of == 5).sum() == 10  # two pentagons share no atom


def test_rings_of_a_drawing_by_hand():
    # a square beside a triangle, sharing a bond
    atoms = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0.5, 2]], float)
    bonds = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [1, 4], [2, 4]])
    assert _rings(atoms, bonds)[0] == {3: 1, 4: 1}
    assert _rings(atoms, bonds[:3])[0] == {}  # a chain closes no ring
    assert _rings(np.empty((0, 2)), np.empty((0, 2), int))[0] == {}


def test_no_atom_has_more_than_three_bonds():
    atoms = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]], float)
    bonds = _bonds(atoms, 1.1)
    assert np.bincount(bonds.ravel()).max() == 3


def test_images_without_a_resolved_lattice_are_told():
    noise = 1000 + 10 * np.random.default_rng(0).standard_normal((128, 128))
    with pytest.raises(MicrotomoError, match="no graphene lattice is seen"):
        find_network(noise)
    with pytest.raises(MicrotomoError, match=r"pixels of 0.100 nm do not resolve atoms"):
        find_network(noise, pixel_nm=0.1)
    with pytest.raises(MicrotomoError, match="must be a positive size"):
        find_network(noise, pixel_nm=-1)
    with pytest.raises(MicrotomoError, match="mask of this image"):
        find_network(noise, np.zeros((3, 3), bool))


@pytest.mark.real_data
def test_real_lattices_are_mostly_hexagons(reference_data):
    from microtomo.tem.protocol import read_labelled

    data = read_labelled(reference_data / "graphene")
    images = [k for k, name in enumerate(data.names) if name.startswith(("2013_1113", "2014_0104"))][:4]
    for k in images:
        rings = find_network(data.images[k], data.labels[k] > 0).rings
        assert rings[6] > 300
        assert rings.get(5, 0) + rings.get(7, 0) < 0.1 * rings[6]
