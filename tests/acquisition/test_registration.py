"""Shifts against those that were put in."""

import numpy as np
import pytest

from microtomo.acquisition.pairwise import band_passed, overlap, pair_shift, places
from microtomo.acquisition.registration import common_field, measure_shifts, registered
from microtomo.errors import MicrotomoError
from recorded import DARK, few_energies, record


@pytest.mark.parametrize("kind", ["perlin", "lithography"])
def test_a_drift_over_pixels_is_found_to_a_part_of_a_pixel(kind):
    told, _ = record(drift=1.0, kind=kind, seeds=(11, 12), forward="material")
    assert np.abs(told.drift_px).max() > 3
    found = measure_shifts(told.images - DARK, told.energies_kev, 15)
    wrong = found.pixels - (told.drift_px - told.drift_px[15])
    assert np.sqrt((wrong**2).mean()) < 0.2
    assert found.measured.all()
    assert np.all(found.pixels[15] == 0)


def test_the_error_that_is_told_is_about_the_one_made():
    told, _ = record(drift=1.0, noise=0.03)
    found = measure_shifts(told.images - DARK, told.energies_kev, 15)
    wrong = (found.pixels - (told.drift_px - told.drift_px[15]))[np.arange(31) != 15]
    told_error = found.error[np.arange(31) != 15]
    assert 0.4 < np.sqrt((wrong**2).mean()) / np.sqrt((told_error**2).mean()) < 2


def test_a_contrast_that_turns_over_between_first_and_last_does_not_pull_the_images_along():
    # thick aluminium hides gold at 5 keV and lets it shine at 20: one edge fades while others stay
    told, _ = record(few_energies(*range(5, 21)), kind="experimental", uneven=0.3)
    found = measure_shifts(told.images - DARK, told.energies_kev, 8)
    assert np.abs(found.pixels).max() < 0.15


def test_unrelated_images_have_no_significant_shift():
    draw = np.random.default_rng(0)
    pairs = [[band_passed(100 + draw.normal(size=(64, 64))) for _ in range(2)] for _ in range(20)]
    assert max(pair_shift(a, b)[1] for a, b in pairs) < 6


def test_images_without_anything_in_common_are_refused_by_energy():
    told, _ = record(few_energies(5, 6, 7, 8, 9))
    images = told.images - DARK
    images[2] = 20000 * (1 + 0.02 * np.random.default_rng(0).normal(size=images[2].shape))
    with pytest.raises(MicrotomoError, match=r"the images at 7 keV have nothing in common .* --no-register"):
        measure_shifts(images, told.energies_kev, 0)
    assert not measure_shifts(images, told.energies_kev, 0, must_match=False).measured[2]


@pytest.mark.parametrize("far", [0.3, 0.4])
def test_a_shift_beyond_a_quarter_of_the_field_is_refused(far):
    size = 80
    drift = [(0.0, 0.0)] * 3 + [(far * size, 0.0)] * 3
    told, _ = record(few_energies(5, 6, 7, 8, 9, 10), size=size, drift=drift)
    with pytest.raises(
        MicrotomoError, match=r"image at (8|9|10) keV is shifted by .* more than a quarter of the field"
    ):
        measure_shifts(told.images - DARK, told.energies_kev, 0)


def test_images_moved_back_equal_those_of_a_still_microscope():
    told, gain = record(few_energies(5, 10, 20), noise=0.0, drift=[(0.0, 0.0), (2.5, -1.0), (-3.0, 1.3)])
    field = common_field(told.drift_px, told.images.shape)
    assert field == (slice(3, 93), slice(1, 94))
    moved = (registered(told.images - DARK, told.drift_px) / gain[:, None, None])[:, field[0], field[1]]
    still = told.still.data[:, field[0], field[1]]
    assert np.abs(moved[0] - still[0]).max() < 1e-4
    assert np.median(np.abs(moved - still)) < 1e-3
    unmoved = ((told.images - DARK) / gain[:, None, None])[:, field[0], field[1]]
    assert np.abs(moved - still)[1:].mean() < 0.3 * np.abs(unmoved - still)[1:].mean()


def test_the_parts_that_two_images_share():
    field = np.arange(100).reshape(10, 10)
    a, b = overlap(field[2:8, 2:8], field[1:7, 4:10], np.array([1, -2]))
    assert a.shape == (5, 4)
    assert np.array_equal(a, b)


def test_places_come_from_all_pairs_and_one_wrong_pair_does_not_matter():
    true = np.array([[0, 0], [1, 2], [3, -1], [4, 0], [6, 2.0]])
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    steps = np.array([true[j] - true[i] for i, j in pairs])
    steps[4] += 5
    found = places(5, 0, pairs, steps, np.ones_like(steps))
    assert np.abs(found - true).max() < 0.1


def test_registration_without_scikit_image_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.registration", None)
    with pytest.raises(MicrotomoError, match=r'scikit-image is needed: pip install "microtomo\[io\]"'):
        pair_shift(np.ones((20, 20)), np.ones((20, 20)))
