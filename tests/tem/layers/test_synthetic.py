"""Synthetic cross-sections: the truth against what is drawn, the cases of the paper, the same bytes from one seed."""

import hashlib

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.geometry import Layer, coverage, grid, three_line
from microtomo.tem.layers.random_fields import field, generator, profile
from microtomo.tem.layers.synthetic import Conditions, overcoat
from microtomo.tem.layers.synthetic_sem import CRACK, OXIDE, cross_section
from microtomo.tem.layers.thickness import measure_layer
from microtomo.tem.layers.training_images import TrainingImages, normalised

SMALL = Conditions(size=128)


def test_thickness_across_a_parabola_is_the_distance_between_its_edges():
    bend = (1 / 400, 0.0)
    along, arc = grid(300, bend)
    layer = Layer((99.5, 80.0), 0.2, bend, along, arc, np.full(len(arc), -6.0), np.full(len(arc), 9.0))
    low, high = layer.distances((200, 200))
    np.testing.assert_allclose((low + high)[coverage(low, high) > 0], 15, atol=1e-4)
    # the nearest of many points of the centre line gives the same distance
    y, x = layer.points(along, np.zeros(len(along)))
    for row, column in ((30, 95), (120, 78), (160, 75)):
        nearest = np.hypot(y - row, x - column).min()
        assert abs(6 - low[row, column]) == pytest.approx(nearest, abs=2e-2)
    # Steiner: the area between parallel curves is thickness times length (to first order in their shift), here exact
    # for the centred part
    inside = layer.inside((200, 200))
    assert layer.thickness((200, 200)) == pytest.approx((15.0, 0.0), abs=1e-9)
    assert 150 < arc[inside][-1] - arc[inside][0] < 230


def test_coverage_of_a_band_sums_to_its_area():
    along, arc = grid(600, (0.0, 0.0))
    layer = Layer((99.5, 99.5), np.radians(25), (0.0, 0.0), along, arc, np.full(len(arc), -5.3), np.full(len(arc), 4.1))
    cover = coverage(*layer.distances((200, 200)))
    assert cover.sum() == pytest.approx(9.4 * 200 / np.cos(np.radians(25)), rel=1e-3)
    assert three_line(cover) == pytest.approx(9.4 / np.cos(np.radians(25)), rel=0.01)


def test_edge_profile_has_the_spectrum_it_is_named_after():
    rng = generator(3, 0)
    lines = np.array([profile(512, 10.0, 0.5, rng) for _ in range(400)])
    assert lines.mean() == pytest.approx(0, abs=0.03)
    assert lines.std() == pytest.approx(1, rel=0.03)
    # hurst 1/2 is the exponential correlation
    for lag in (5, 10, 20):
        assert (lines[:, :-lag] * lines[:, lag:]).mean() == pytest.approx(np.exp(-lag / 10), abs=0.06)


def test_field_is_correlated_as_far_as_it_says():
    rng = generator(3, 1)
    many = np.stack([field((64, 64), (3.0, 6.0), rng) for _ in range(40)])
    assert many.std() == pytest.approx(1, rel=0.03)
    assert (many[:, :-3] * many[:, 3:]).mean() == pytest.approx(np.exp(-0.5), abs=0.05)
    assert (many[:, :, :-6] * many[:, :, 6:]).mean() == pytest.approx(np.exp(-0.5), abs=0.05)


def test_same_seed_gives_the_same_bytes_in_any_order():
    first = [hashlib.sha256(overcoat(5, k, SMALL).image.tobytes()).hexdigest() for k in (0, 1, 2)]
    again = [hashlib.sha256(overcoat(5, k, SMALL).image.tobytes()).hexdigest() for k in (2, 0, 1)]
    assert first == [again[1], again[2], again[0]]
    assert len(set(first)) == 3
    one, other = (cross_section(5, 3, 96) for _ in range(2))
    assert one.image.tobytes() == other.image.tobytes()
    assert one.label.tobytes() == other.label.tobytes()


def test_truth_is_what_the_measurement_finds_in_the_drawn_mask():
    for k in range(6):
        sample = overcoat(11, k, SMALL)
        answer = measure_layer(sample.cover, sample.pixel_nm)
        assert answer.nm(answer.mean) == pytest.approx(sample.mean_nm, rel=0.01)
        assert answer.nm(answer.sd) == pytest.approx(sample.sd_nm, rel=0.15, abs=0.01)
        assert sample.mean_nm == pytest.approx(sample.layer_nm, rel=0.1)


def test_three_lines_read_too_much_on_a_tilted_layer():
    tilted = Conditions(size=128, tilt_degrees=(25, 25), sagitta=(0, 0), roughness_nm=(0.001, 0.001))
    sample = overcoat(2, 0, tilted)
    assert sample.three_line_nm == pytest.approx(sample.mean_nm / np.cos(np.radians(25)), rel=0.03)


def test_layer_is_brighter_than_metal_and_cap_on_every_date():
    for date in range(3):
        only = Conditions(size=128, dates=(date,), dark=0, light=0, sticker=0, crossing=0)
        for k in range(3):
            sample = overcoat(4, k, only)
            assert sample.date == date
            smooth = gaussian_filter(sample.image, 1.0)
            assert smooth[sample.cover == 1].mean() > smooth[sample.cover == 0].mean() + 0.15


def test_dark_light_and_bare_images():
    dark = overcoat(1, 0, Conditions(size=128, dark=1.0, light=0.0, sticker=0))
    light = overcoat(1, 0, Conditions(size=128, dark=0.0, light=1.0, sticker=0))
    assert dark.image.mean() < 0.25 < 0.5 < light.image.mean()
    bare = overcoat(1, 0, Conditions(size=128, bare=1.0))
    assert not bare.mask.any()
    assert np.isnan(bare.mean_nm)
    assert bare.image.std() > 0


def test_sticker_hides_none_of_the_layer():
    plain, stuck = Conditions(sticker=0.0, crossing=0.0), Conditions(sticker=1.0, crossing=0.0)
    changed = 0
    for k in range(4):
        before, after = overcoat(9, k, plain), overcoat(9, k, stuck)
        differs = before.image != after.image
        assert not (differs & (before.cover > 0)).any()
        changed += differs.any()
    assert changed >= 3


def test_oxide_of_a_cross_section_lies_between_its_neighbours():
    for k in range(4):
        sample = cross_section(6, k, 128)
        assert set(np.unique(sample.label)) <= {0, OXIDE, CRACK}
        columns = (sample.label > 0).sum(0).mean()
        assert columns == pytest.approx(sample.thickness, rel=0.15)


def test_training_pairs_depend_on_seed_and_index_only():
    data = TrainingImages(
        3, 2, lambda seed, index: (overcoat(seed, index, SMALL).image, overcoat(seed, index, SMALL).cover)
    )
    image, target = data.pair(5)
    again, same = data.pair(5, data.stored(1))
    assert image.tobytes() == again.tobytes()
    assert target.tobytes() == same.tobytes()
    assert image.mean() == pytest.approx(0, abs=1e-4)
    assert image.std() == pytest.approx(1, rel=1e-3)
    other, _ = data.pair(3)
    assert image.tobytes() != other.tobytes()
    part, _ = TrainingImages(3, 2, data.draw, crop=64).pair(0)
    assert part.shape == (64, 64)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(MicrotomoError, match="seed"):
        overcoat(-1, 0, SMALL)
    with pytest.raises(MicrotomoError, match="thickness_nm"):
        Conditions(thickness_nm=(5.0, 1.0))
    with pytest.raises(MicrotomoError, match="dates"):
        Conditions(dates=(3,))
    with pytest.raises(MicrotomoError, match="size"):
        cross_section(0, 0, 16)
    with pytest.raises(MicrotomoError, match="same value"):
        normalised(np.ones((50, 50)))
