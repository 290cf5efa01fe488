import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtomo.errors import MicrotomoError
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.voxels import default_depth, thickness_to_volume, volume_to_thickness

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def column(thickness, depth=16, voxel_nm=10, rule="floor"):
    """Labels of one column, bottom first, from plain numbers."""
    maps = np.array(thickness, dtype=float)[:, None, None]
    return thickness_to_volume(maps, depth, voxel_nm, rule)[:, 0, 0].tolist()


def published_volume(thickness, depth, voxel_nm):
    """floor(d / voxel) voxels of each layer on top of the last, cut at the top: pixel by pixel, voxel by voxel."""
    layers, height, width = thickness.shape
    volume = np.zeros((depth, height, width), int)
    for y in range(height):
        for x in range(width):
            z = 0
            for k in range(layers):
                for _ in range(int(thickness[k, y, x] // voxel_nm)):
                    if z < depth:
                        volume[z, y, x] = k + 1
                    z += 1
    return volume


def volume_of_centres(thickness, depth, voxel_nm):
    layers, height, width = thickness.shape
    volume = np.zeros((depth, height, width), int)
    for z, y, x in np.ndindex(volume.shape):
        centre, top = (z + 0.5) * voxel_nm, 0.0
        for k in range(layers):
            if top <= centre < top + thickness[k, y, x]:
                volume[z, y, x] = k + 1
            top += thickness[k, y, x]
    return volume


def test_the_published_rule_by_hand():
    assert column((15, 49.9), depth=8) == [1, 2, 2, 2, 2, 0, 0, 0]
    assert column((15, 50), depth=8) == [1, 2, 2, 2, 2, 2, 0, 0]
    assert column((9.9, 9.9), depth=3) == [0, 0, 0]
    assert column((0, 30), depth=4) == [2, 2, 2, 0]


def test_the_centre_rule_by_hand():
    assert column((15, 10), depth=4, rule="centre") == [1, 2, 0, 0]
    assert column((4, 4, 4), depth=2, rule="centre") == [2, 0]  # 8 nm of thin layers show, floor shows none
    assert column((6, 8), depth=3, rule="centre") == [1, 0, 0]


# halves of nanometres: exact in binary, so that the plain loop divides as exactly as the code does
HALVES = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 160).map(lambda n: n / 2)))


@settings(max_examples=60, deadline=None)
@given(HALVES, st.integers(1, 20), st.sampled_from([0.5, 1.0, 2.5, 10.0]))
def test_floor_rule_equals_a_plain_loop(thickness, depth, voxel_nm):
    np.testing.assert_array_equal(
        thickness_to_volume(thickness, depth, voxel_nm), published_volume(thickness, depth, voxel_nm)
    )


@settings(max_examples=60, deadline=None)
@given(HALVES, st.integers(1, 20), st.sampled_from([1.0, 2.5, 10.0]))
def test_centre_rule_equals_a_plain_loop(thickness, depth, voxel_nm):
    np.testing.assert_array_equal(
        thickness_to_volume(thickness, depth, voxel_nm, "centre"), volume_of_centres(thickness, depth, voxel_nm)
    )


@settings(max_examples=40, deadline=None)
@given(SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4))), st.sampled_from([2.5, 10.0]))
def test_whole_voxels_come_back(counts, voxel_nm):
    for rule in ("floor", "centre"):
        volume = thickness_to_volume(counts * voxel_nm, 16, voxel_nm, rule)
        np.testing.assert_array_equal(volume_to_thickness(volume, len(counts), voxel_nm), counts * voxel_nm)


@pytest.mark.parametrize("rule", ["floor", "centre"])
def test_what_stands_above_the_top_is_cut_off(rule):
    assert column((20, 1000), depth=4, rule=rule) == [1, 1, 2, 2]
    assert column((1000, 20), depth=4, rule=rule) == [1, 1, 1, 1]


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_leading_axes_and_kind_are_kept(leading, kind):
    thickness = np.random.default_rng(0).uniform(0, 60, (*leading, 3, 4, 5)).astype(np.float32)
    volume = thickness_to_volume(kind(thickness), 18)
    assert isinstance(volume, type(kind(thickness)))
    assert tuple(volume.shape) == (*leading, 18, 4, 5)
    assert "uint8" in str(volume.dtype)
    for index in np.ndindex(leading):
        np.testing.assert_array_equal(np.asarray(volume)[index], published_volume(thickness[index], 18, 10))
    back = volume_to_thickness(volume, 3)
    assert isinstance(back, type(kind(thickness)))
    np.testing.assert_array_equal(np.asarray(back), np.floor(thickness / 10) * 10)


def test_flipped_and_big_endian_arrays_are_taken():
    thickness = np.random.default_rng(0).uniform(0, 60, (2, 4, 5))
    volume = thickness_to_volume(thickness)
    np.testing.assert_array_equal(thickness_to_volume(thickness.astype(">f8")), volume)
    np.testing.assert_array_equal(thickness_to_volume(thickness[:, ::-1])[:, ::-1], volume)
    back = volume_to_thickness(volume, 2)
    np.testing.assert_array_equal(volume_to_thickness(volume[:, ::-1], 2)[:, ::-1], back)
    np.testing.assert_array_equal(volume_to_thickness(volume.astype(">u2"), 2), back)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-3])
@pytest.mark.parametrize("rule", ["floor", "centre"])
def test_thickness_that_is_none_is_refused(bad, rule):
    with pytest.raises(MicrotomoError, match="negative or non-finite"):
        column((5, bad), rule=rule)


@pytest.mark.parametrize("voxel_nm", [0, -10, float("nan"), float("inf")])
def test_impossible_voxel_sizes_are_refused(voxel_nm):
    with pytest.raises(MicrotomoError, match="voxel size"):
        thickness_to_volume(np.zeros((1, 1, 1)), 16, voxel_nm)
    with pytest.raises(MicrotomoError, match="voxel size"):
        default_depth(load_stack("au-al-si"), voxel_nm)


def test_unknown_rule_is_refused():
    with pytest.raises(MicrotomoError, match="unknown voxel rule 'round': use floor or centre"):
        column((5, 5), rule="round")


@pytest.mark.parametrize(("voxel_nm", "depth"), [(10, 16), (5, 33), (1, 165), (2.5, 66), (0.1, 1650), (1000, 1)])
def test_default_depth_holds_the_thickest_stack(voxel_nm, depth):
    assert default_depth(load_stack("au-al-si"), voxel_nm) == depth


def test_default_depth_counts_every_layer():
    m = builtin_materials()
    layers = tuple(Layer(material=m[s], max_nm=nm) for s, nm in [("Au", 19), ("Al", 55), ("Cu", 100)])
    assert default_depth(Stack(name="s", substrate=m["Si"], layers=layers)) == 1 + 5 + 10
