"""Profiles across the edges of a layer: what they show by hand, and that moved levels have moved edges."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from microtomo.tem.layers.edge_profiles import (
    COARSE,
    EDGE_FEATURES,
    FEATURES,
    FINE_PX,
    EdgeErrors,
    moved,
    profile_features,
)
from microtomo.tem.layers.edge_samples import COPIES, edge_samples
from microtomo.tem.layers.orthogonal import Lines
from microtomo.tem.layers.synthetic import overcoat
from microtomo.tem.layers.thickness import measure_layer


def covered(low, high, degrees=0.0, size=160):
    """Share of each pixel of a band between two distances from a line through the middle of the image."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    turn = np.radians(degrees)
    distance = x * np.cos(turn) - y * np.sin(turn)
    return np.float32(np.clip(np.minimum(distance - low, high - distance) + 0.5, 0, 1))


def upright(low, high, size=160):
    """Lines across such a band, upright."""
    rows = np.arange(size, dtype=float)
    foot, normal = np.stack([rows, np.full(size, (size - 1) / 2)], 1), np.tile([0.0, 1.0], (size, 1))
    ends = np.full(size, low), np.full(size, high)
    return Lines(foot, normal, *ends, np.full(size, high - low), np.ones(size, bool), np.zeros(size), rows)


def test_profiles_of_a_step_are_the_step():
    lines = upright(-10.0, 10.0)
    features = profile_features(5 + 3 * covered(-10, 10), lines, lines.whole)
    assert features.shape == (FEATURES,)
    low, high = features[:EDGE_FEATURES], features[EDGE_FEATURES:-2]
    np.testing.assert_allclose(low, high, atol=1e-4)
    fine, coarse, rms = np.split(low, [len(FINE_PX), len(FINE_PX) + len(COARSE)])
    assert (fine[np.abs(FINE_PX) == 14] * [1, -1] > 0).all()  # bright inside, dark outside
    bright, dark = fine[FINE_PX == -5][0], fine[FINE_PX == 5][0]
    share = (COARSE < -0.01).mean()  # of the coarse profile that lies inside
    assert bright - dark == pytest.approx(1 / np.sqrt(share * (1 - share)), rel=0.05)
    assert coarse[COARSE == -0.5] == pytest.approx(bright, rel=0.01)
    np.testing.assert_allclose(rms, 0, atol=1e-3)
    assert features[-2:] == pytest.approx([np.log(20) - 2.5, np.log(160) - 4.5])


def test_profiles_do_not_depend_on_brightness_and_contrast():
    lines, image = upright(-8.0, 9.0), covered(-9, 9) + np.float32(0.1) * np.random.default_rng(0).random((160, 160))
    one, other = (profile_features(each, lines, lines.whole) for each in (image, 40 + 7 * image))
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("degrees", [0, 20])
def test_moved_levels_have_their_edges_where_they_were_asked_for(degrees):
    soft = gaussian_filter(covered(-10, 10, degrees), 1.0)  # as a network's
    before = measure_layer(soft)
    one = np.ones(before.used.shape)
    levels = moved(soft, before.lines, before.used, 1.5 * one, -0.7 * one)
    after = measure_layer(levels)
    assert after.mean == pytest.approx(20.8, abs=0.05)
    # the middle goes half of what the edges go apart from each other, towards the low one
    middle = [float(np.median((a.lines.middle * a.lines.normal)[a.used].sum(1))) for a in (before, after)]
    assert abs(middle[1] - middle[0]) == pytest.approx(1.1, abs=0.05)
    assert levels[0, 0] == levels[-1, -1] == pytest.approx(0)


def test_samples_say_how_far_off_the_edges_were_put():
    features, shifts = edge_samples(7, 0)
    assert features.shape == (COPIES, FEATURES)
    # the thickness of the features with both shifts is that of the layer in view, of which a copy shows a piece
    thickness, sample = np.exp(features[:, -2] + 2.5) + shifts.sum(1), overcoat(7, 0)
    assert thickness == pytest.approx([sample.mean_nm / sample.pixel_nm] * COPIES, rel=0.05)
    np.testing.assert_array_equal(features, edge_samples(7, 0)[0])


def test_errors_of_a_binned_image_grow_with_its_pixels():
    assert EdgeErrors((0.5, 1.0)).enlarged(4, (8, 8)).errors == (2.0, 4.0)
