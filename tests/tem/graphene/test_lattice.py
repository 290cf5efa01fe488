"""Graphene as it is known: distances, density, three neighbours, boundaries of pentagons and heptagons."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from microtomo.tem.graphene.lattice import bicrystal, sheet

BOX = (10.0, 12.0)


def inner(atoms, margin=0.5):
    return ((atoms > margin) & (atoms < np.array(BOX) - margin)).all(1)


def test_a_sheet_has_the_bonds_density_and_planes_of_graphene():
    atoms = sheet(BOX, 0.4, (0.03, 0.1))
    near = cKDTree(atoms).query(atoms[inner(atoms)], 5)[0]
    np.testing.assert_allclose(near[:, 1:4], 0.246 / np.sqrt(3), rtol=1e-9)  # three bonds of 0.142 nm
    np.testing.assert_allclose(near[:, 4], 0.246, rtol=1e-9)
    assert len(atoms) / 120 == pytest.approx(38.16, rel=0.01)  # per nm^2


def test_the_angle_turns_the_sheet_and_sixty_degrees_change_nothing():
    atoms = sheet(BOX, 0.1)
    turned = sheet(BOX, 0.1 + np.pi / 3)
    assert cKDTree(turned).query(atoms[inner(atoms)])[0].max() < 1e-9
    other = sheet(BOX, 0.1 + np.pi / 6)
    assert cKDTree(other).query(atoms[inner(atoms)])[0].max() > 0.05


@pytest.mark.parametrize("seed", range(4))
def test_two_sheets_meet_with_three_bonds_everywhere(seed):
    rng = np.random.default_rng(seed)
    angles, shifts = rng.uniform(0, np.pi / 3, 2), rng.uniform(0, 0.25, (2, 2))

    def distance(points):
        return points[:, 1] - 6 - 0.6 * np.sin(points[:, 0])

    atoms, (fives, sevens) = bicrystal(BOX, tuple(angles), tuple(map(tuple, shifts)), distance)
    bonds = cKDTree(atoms).query(atoms[inner(atoms)], 4)[0][:, 1:]
    assert 0.11 < bonds.min() < bonds.max() < 0.19
    assert fives > 3
    # Euler: as many of five as of seven, but for those that the edges of the box cut off
    assert abs(fives - sevens) <= 3
    far = atoms[np.abs(distance(atoms)) > 1.2]
    for side, angle, shift in zip((-1, 1), angles, shifts, strict=True):
        mine = far[(distance(far) * side > 0)]
        assert cKDTree(sheet(BOX, angle, tuple(shift))).query(mine)[0].max() < 1e-9


def test_equal_sheets_join_without_a_trace():
    atoms, rings = bicrystal(BOX, (0.2, 0.2), ((0, 0), (0, 0)), lambda p: p[:, 1] - 6)
    assert rings == (0, 0)
    assert cKDTree(atoms).query(sheet(BOX, 0.2))[0].max() < 1e-9
    assert len(atoms) == len(sheet(BOX, 0.2))
