"""Levels against what was put in, and the words that come of them."""

import numpy as np
import pytest

from microtomo.acquisition.quality import Levels, full_scale, local_noise, measure_levels, missing_energies, verdict
from recorded import DARK, record


def test_noise_is_measured_without_a_substrate_and_edges_do_not_count():
    told, _ = record(noise=0.03)
    levels = measure_levels(told.images, DARK)
    assert levels.noise == pytest.approx(0.03, rel=0.12)
    assert local_noise(np.add.outer(np.arange(20.0), 3 * np.arange(30.0))) == pytest.approx(0, abs=1e-9)


def test_saturated_and_black_pixels_are_counted():
    images = np.full((2, 10, 10), 100, np.uint8)
    images[0, :2] = 255
    images[1, 0] = 0
    levels = measure_levels(images)
    assert levels.saturated.tolist() == [0.2, 0]
    assert levels.black.tolist() == [0, 0.1]
    assert levels.top == 255


@pytest.mark.parametrize(("brightest", "dtype", "top"), [(4095, "u2", 4095), (4000, "u2", 65535), (9, "u1", 255)])
def test_the_end_of_the_range_is_that_of_the_digitiser(brightest, dtype, top):
    images = np.minimum(np.arange(5000).reshape(1, 50, 100), brightest).astype(dtype)
    assert full_scale(images) == top
    assert full_scale(images.astype(float)) is None


def findings(**given):
    many = np.full(5, 0.02)
    levels = Levels(given.pop("saturated", 0 * many), given.pop("black", 0 * many), given.pop("noise", many),
                    given.pop("steps", many * 1000), 65535.0)  # fmt: skip
    about = {
        "dark": 0.0, "shift_error_px": np.full((5, 2), 0.1), "unregistered_px": None, "substrate_noise": many,
        "gain_error": many / 100, "misfit": 0.002,
    }  # fmt: skip
    return verdict(levels, given.pop("energies", (5, 6, 7, 8, 9)), **about | given)


def test_a_clean_recording_has_nothing_against_it():
    assert findings() == []


SOME = np.array([0, 0, 0.005, 0, 0])


@pytest.mark.parametrize(
    ("given", "words", "grave"),
    [
        ({"saturated": SOME}, "0.5% of the pixels are saturated (7 keV)", False),
        ({"saturated": 8 * SOME}, "4.0% of the pixels are saturated", True),
        ({"black": 8 * SOME}, "4.0% of the pixels are black", True),
        ({"noise": np.full(5, 0.1), "substrate_noise": np.full(5, 0.1)}, "the noise is 10.0%", False),
        ({"noise": np.full(5, 0.3), "substrate_noise": np.full(5, 0.3)}, "the noise is 30.0%", True),
        ({"steps": np.array([1, 9, 9, 9, 9])}, "less than 2 grey levels (5 keV)", False),
        ({"shift_error_px": np.full((5, 2), 0.8)}, "known to 0.8 pixels only", False),
        ({"shift_error_px": np.full((5, 2), 3.0)}, "known to 3.0 pixels only", True),
        ({"unregistered_px": 1.5}, "shifted by up to 1.5 pixels and were not registered", False),
        ({"unregistered_px": 5.0}, "shifted by up to 5.0 pixels and were not registered", True),
        ({"substrate_noise": np.full(5, 0.06)}, "substrate region scatters by 6.0%", False),
        ({"gain_error": np.full(5, 0.02)}, "gain is known to 2.0% only", False),
        ({"misfit": 0.05}, "spectra differ by 5.0%", False),
        ({"misfit": 0.2}, "spectra differ by 20.0%", True),
        ({"dark": None}, "no dark level was given", False),
        ({"energies": (5, 6, 7, 9, 10)}, "the series lacks 8 keV", False),
    ],
)
def test_each_trouble_has_its_sentence(given, words, grave):
    (found,) = findings(**given)
    assert words in found.text
    assert found.grave is grave


def test_the_gravest_comes_first():
    assert [f.grave for f in findings(dark=None, misfit=0.2)] == [True, False]


def test_missing_energies_are_told_of_even_series_only():
    assert missing_energies((5, 6, 8, 9, 10)) == [7]
    assert missing_energies((5, 7.5, 10, 20, 30)) == []
    assert missing_energies((5, 10)) == []
