"""The measurement of segmented images: sub-pixel edges after binning, several layers, the marks of the picture."""

from dataclasses import replace

import numpy as np
import pytest

from microtomo.tem.layers.edge_profiles import EdgeErrors
from microtomo.tem.layers.measurement import caption, levels, measure_thickness, segmented_layers
from microtomo.tem.layers.thickness import measure_layer
from microtomo.tem.segmentation import Segmentation, enlarged


def covered(width, degrees=0.0, middle=60.0, size=120):
    """Share of each pixel inside a band of a width across its normal."""
    y, x = np.mgrid[:size, :size]
    turn = np.radians(degrees)
    distance = np.abs((x - middle) * np.cos(turn) - (y - size / 2) * np.sin(turn))
    return np.clip(width / 2 - distance + 0.5, 0, 1).astype(np.float32)


def segmentation(probability, **options):
    return Segmentation.of_mask(probability > 0.5, probability, "layer-unet", options)


@pytest.mark.parametrize("degrees", [0, 17])
def test_edges_lie_between_pixels_also_after_binning(degrees):
    n, width = 4, 11.3  # in binned pixels
    y, x = np.mgrid[:120, :120]
    turn = np.radians(degrees)
    inside = width / 2 - np.abs((x - 60.2) * np.cos(turn) - (y - 60) * np.sin(turn))
    small = (1 / (1 + np.exp(-4 * inside))).astype(np.float32)  # as a network's: its logit is even across the edge
    shape = (n * 120 + 2, n * 120 + 3)
    large = segmentation(enlarged(small, n, shape), binning=n)
    assert levels(large).shape == shape
    measured = measure_thickness(np.zeros(shape), large, 0.01)
    (mean,) = (v for c in measured.tables["layer"] if c.name == "mean_px" for v in c.values)
    assert mean == pytest.approx(n * width, rel=0.01)


def test_every_layer_that_crosses_the_image_is_a_row():
    both = np.maximum(covered(10, middle=30), covered(16, middle=85))
    measured = measure_thickness(both, segmentation(both), 0.1)
    columns = {c.name: c.values for c in measured.tables["layer"]}
    assert columns["layer"] == [1, 2]
    assert columns["mean_px"] == pytest.approx([10, 16], abs=0.1)
    assert measured.caption.count("\n") == 1


def test_a_small_layer_beside_a_larger_blob_that_does_not_cross_gives_no_number():
    both = np.maximum(covered(10, middle=20), covered(40, middle=85) * (np.arange(120)[:, None] < 100))
    measured = measure_thickness(both, segmentation(both), 0.1)
    columns = {c.name: c.values for c in measured.tables["layer"]}
    assert columns["mean_px"] == [None]
    assert measured.marks == ()


def test_the_marks_are_lines_as_long_as_the_layer_is_thick():
    measured = measure_thickness(np.zeros((120, 120)), segmentation(covered(20, 12)), 0.1)
    lines, centre = measured.marks
    assert np.hypot(*(lines.ends[:, 1] - lines.ends[:, 0]).T) == pytest.approx(20, abs=0.3)
    assert len(lines.ends) == 40
    assert centre.ends.shape == (39, 2, 2)


def test_captions_have_mean_deviation_and_interval_or_say_why_not():
    answer = measure_layer(covered(20), 0.1)
    assert caption(answer).startswith("mean 2.0")
    assert "SD 0.0" in caption(answer)
    assert caption(measure_layer(np.zeros((99, 99), bool), 0.1)).startswith("empty: no thickness. No layer was found")
    assert "no scale" in caption(measure_layer(covered(20)))


def test_a_layer_beside_much_that_may_be_one_too_gives_no_number():
    sure = covered(12, middle=40)
    for share, status in ((0.1, "ok"), (0.4, "not one layer")):
        both = np.maximum(sure, np.float32(share) * covered(30, middle=90))
        (answer,) = segmented_layers(segmentation(both), 0.1)
        assert str(answer.status) == status


def test_edges_that_are_not_known_give_no_number_and_a_wider_interval_before():
    found, half = covered(20), []
    for error in (0.1, 0.4, 2.0):
        given = replace(segmentation(found), details=EdgeErrors((error,)))
        (answer,) = segmented_layers(given, 0.1)
        half.append(0.5 * (answer.high_95 - answer.low_95))
        assert str(answer.status) == ("unsure" if error > 1 else "ok")
    assert 3 * half[0] < half[1]
