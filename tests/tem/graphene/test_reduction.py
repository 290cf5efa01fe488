"""Sorting by usable area, and run-length compression that gives back what it kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtomo.errors import MicrotomoError
from microtomo.tem.graphene.reduction import compress, read_compressed, usable_order, write_compressed


def test_the_most_usable_comes_first_and_equals_keep_their_order():
    masks = [np.arange(10).reshape(2, 5) < covered for covered in (5, 0, 7, 5)]
    assert usable_order(masks) == [1, 0, 3, 2]


def test_runs_and_ratio_of_an_image_by_hand():
    image = np.array([[1, 2, 3, 4], [10, 20, 30, 6]], np.uint16)
    mask = np.array([[0, 0, 0, 0], [1, 1, 1, 0]], bool)
    made = compress(image, mask)
    assert made.lengths.tolist() == [4, 3, 1]
    assert made.kept.tolist() == [1, 2, 3, 4, 6]
    assert made.levels.tolist() == [20]
    assert made.ratio == pytest.approx(16 / (3 * 2 + 5 * 2 + 1 * 2))
    assert made.expand().tolist() == [[1, 2, 3, 4], [20, 20, 20, 6]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from(["u1", "u2", "f4", "i4"]))
def test_kept_pixels_come_back_exactly(high, wide, seed, kind):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, (high, wide)).astype(kind)
    mask = rng.random((high, wide)) < rng.random()
    back = compress(image, mask).expand()
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back[~mask], image[~mask])
    if mask.any():
        assert image[mask].min() <= back[mask].min() <= back[mask].max() <= image[mask].max()


def test_a_half_covered_image_is_about_half_as_large(tmp_path):
    image = np.random.default_rng(0).integers(0, 60000, (512, 512)).astype(np.uint16)
    mask = np.zeros((512, 512), bool)
    mask[:, 256:] = True
    made = compress(image, mask)
    assert made.ratio == pytest.approx(2, rel=0.02)
    write_compressed(tmp_path / "a.npz", made)
    assert (tmp_path / "a.npz").stat().st_size < 0.52 * image.nbytes
    np.testing.assert_array_equal(read_compressed(tmp_path / "a.npz").expand(), made.expand())


def test_wrong_files_and_shapes_are_told(tmp_path):
    with pytest.raises(MicrotomoError, match="mask of this image"):
        compress(np.zeros((3, 3)), np.zeros((2, 2)))
    with pytest.raises(MicrotomoError, match="nothing to compress"):
        compress(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(MicrotomoError, match=r"written as \.npz"):
        write_compressed(tmp_path / "a.zip", compress(np.ones((2, 2)), np.zeros((2, 2))))
    np.savez(tmp_path / "other.npz", a=1)
    (tmp_path / "text.npz").write_text("hello")
    for name, said in (("other", "no compressed"), ("text", "no NumPy file"), ("none", "no such file")):
        with pytest.raises(MicrotomoError, match=said):
            read_compressed(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "cut.npz", shape=[4, 4], lengths=[3], kept=[1, 2, 3], levels=[])
    with pytest.raises(MicrotomoError, match="no compressed micrograph, or damaged"):
        read_compressed(tmp_path / "cut.npz")
