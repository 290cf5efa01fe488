import numpy as np
import pytest

from microtomo.viz.mesh import FLAT_SHADE, box_faces, column_faces, rectangles, voxel_faces


def enclosed(faces):
    """Volume inside a closed surface, by the divergence theorem; right only if closed and all faces point outwards."""
    a, b, c, d = np.moveaxis(faces.corners.astype(float), 1, 0)
    return (np.einsum("ij,ij->i", a, np.cross(b, c)) + np.einsum("ij,ij->i", a, np.cross(c, d))).sum() / 6


def facing(faces):
    """Area vector summed over the faces: zero for a closed surface."""
    a, b, c, d = np.moveaxis(faces.corners.astype(float), 1, 0)
    return (np.cross(c - a, d - b) / 2).sum(0)


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_closed_and_enclose_thickness_times_area(seed):
    rng = np.random.default_rng(seed)
    bottom = rng.integers(0, 4, (7, 9)).astype(np.float32)
    thickness = rng.integers(0, 3, (7, 9)).astype(np.float32) * 2.5
    faces = column_faces(bottom, bottom + thickness, thickness > 0, 10.0, 3.0)
    assert enclosed(faces) == pytest.approx(thickness.sum() * 100, rel=1e-5)
    np.testing.assert_allclose(facing(faces), 0, atol=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_voxels_are_closed_and_enclose_their_number(seed):
    mask = np.random.default_rng(seed).random((5, 7, 9)) < 0.4
    faces = voxel_faces(mask, np.full((7, 9), FLAT_SHADE, dtype=np.uint8), 10.0, 20.0)
    assert enclosed(faces) == pytest.approx(mask.sum() * 10 * 20 * 20, rel=1e-5)
    np.testing.assert_allclose(facing(faces), 0, atol=1e-2)


def test_row_zero_of_the_image_is_at_the_far_side():
    thickness = np.zeros((4, 6), dtype=np.float32)
    thickness[0, 5] = 7
    corners = column_faces(thickness * 0, thickness, thickness > 0, 10.0, 1.0).corners.reshape(-1, 3)
    np.testing.assert_array_equal(corners.min(0), [50, 30, 0])
    np.testing.assert_array_equal(corners.max(0), [60, 40, 7])


def test_equal_pixels_merge_into_few_rectangles():
    flat = np.full((128, 128), 5, dtype=np.float32)
    assert len(column_faces(flat * 0, flat, flat > 0, 10.0, 1.0).corners) == 6


def test_rectangles_cover_each_cell_once():
    rng = np.random.default_rng(0)
    valid, key = rng.random((3, 11, 13)) < 0.6, rng.integers(0, 3, (3, 11, 13))
    count = np.zeros(valid.shape, dtype=int)
    for p, u0, u1, v0, v1, k in zip(*rectangles(valid, key), strict=True):
        count[p, u0:u1, v0:v1] += 1
        assert (key[p, u0:u1, v0:v1] == k).all()
    np.testing.assert_array_equal(count, valid.astype(int))


def test_flat_tops_have_the_exact_colour_of_the_material():
    box = box_faces(100, 50, -5, 0)
    assert enclosed(box) == pytest.approx(100 * 50 * 5)
    top = (box.corners[..., 2] == 0).all(1)
    assert set(box.shades[top]) == {FLAT_SHADE}
    assert box.shades[~top].max() < FLAT_SHADE
