"""Orthogonal thickness: against bands and rings drawn by formula, clear answers where there is no one layer."""

import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.answer import COLUMNS, as_dict
from microtomo.tem.layers.outline import Status
from microtomo.tem.layers.thickness import measure_label_image, measure_layer, measure_layers
from microtomo.tem.layers.uncertainty import long_run, mean_error, rounding_error


def band(width: float, degrees: float, size: int = 200, soft: bool = False, offset: float = 0.3) -> np.ndarray:
    """A straight band of a width across the normal, tilted from the vertical, through the middle of the image."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    turn = np.radians(degrees)
    depth = width / 2 - np.abs((x - offset) * np.cos(turn) - y * np.sin(turn))
    return np.clip(depth + 0.5, 0, 1) if soft else depth >= 0


@pytest.mark.parametrize("degrees", [-30, -12, 7, 20, 30, 60, 78, 113])
@pytest.mark.parametrize("width", [7.3, 24.8])
def test_tilted_bands_are_measured_within_one_percent_in_any_orientation(width, degrees):
    for soft in (False, True):
        answer = measure_layer(band(width, degrees, soft=soft), 0.1)
        assert answer.status is Status.OK
        assert answer.mean == pytest.approx(width, rel=0.01)
        assert answer.low_95 < width < answer.high_95


@pytest.mark.parametrize("degrees", [10, 20, 30])
def test_three_lines_read_too_much_by_the_cosine_of_the_tilt(degrees):
    answer = measure_layer(band(30.4, degrees, soft=True), 0.1)
    assert answer.three_line == pytest.approx(30.4 / np.cos(np.radians(degrees)), rel=0.01)
    flat = measure_layer(band(30.4, 90 - degrees, soft=True), 0.1)
    assert flat.three_line == pytest.approx(30.4 / np.cos(np.radians(degrees)), rel=0.01)


def test_upright_mask_says_that_its_edges_are_only_known_to_the_pixel():
    answer = measure_layer(band(10.4, 0), 0.1)
    assert answer.sd == pytest.approx(0, abs=1e-6)
    assert answer.standard_error == pytest.approx(np.sqrt(2 / 12), rel=0.1)  # two edges, each rounded to whole pixels
    assert answer.low_95 < 10.4 < answer.high_95


def test_ring_is_measured_along_its_own_centre_line():
    y, x = np.mgrid[:256, :256].astype(float)
    radius = np.hypot(y - 128, x + 80)
    arc = np.clip(10.25 - np.abs(radius - 200) + 0.5, 0, 1)
    answer = measure_layer(arc, 0.1)
    assert answer.shape == "curved"
    assert answer.mean == pytest.approx(20.5, rel=2e-3)
    straight = measure_layer(arc, 0.1, shape="straight")
    # lines across the chord read 1 / cos of the local slope: asin(s / 200) at s from -128 to 128
    s = np.linspace(-125, 125, 500)
    assert straight.mean == pytest.approx(20.5 * np.mean(1 / np.sqrt(1 - (s / 200) ** 2)), rel=0.01)


def test_straight_layer_is_left_on_its_regression_line():
    assert measure_layer(band(15, 13), 0.1).shape == "straight"


def test_deviation_extremes_and_roughness_of_a_wavy_edge():
    y, x = np.mgrid[:240, :120].astype(float)
    wave = 2.0 * np.sin(2 * np.pi * y / 24)
    depth = np.minimum(x - 40.0, 70.0 + wave - x)
    answer = measure_layer(np.clip(depth + 0.5, 0, 1), 0.5)
    assert answer.mean == pytest.approx(30, rel=3e-3)
    assert answer.sd == pytest.approx(2 / np.sqrt(2), rel=0.05)
    assert answer.maximum - answer.minimum == pytest.approx(4, rel=0.05)
    assert sorted(answer.roughness) == pytest.approx([0, 2 / np.sqrt(2)], abs=0.08)
    row = answer.row()
    assert tuple(row) == COLUMNS
    assert row["mean_nm"] == pytest.approx(15, rel=2e-3)


@pytest.mark.parametrize(
    ("mask", "status"),
    [
        (np.zeros((100, 100), bool), Status.EMPTY),
        (band(8, 5, 100, offset=-25) | band(8, 5, 100, offset=25), Status.TWO_LAYERS),
        (band(8, 0, 100) & (np.arange(100) < 50)[:, None], Status.ONE_SIDE),
        (band(8, 0, 100) & (np.abs(np.arange(100) - 50) < 30)[:, None], Status.NO_SIDE),
        (band(20, 0, 100, offset=-45), Status.EDGE_OUTSIDE),
        (np.hypot(*(np.mgrid[:100, :100] - 2.0)) < 40, Status.EDGE_OUTSIDE),
        (band(4, 0, 100)[:7], Status.TOO_SHORT),
        (band(8, 0, 100) | band(8, 90, 100), Status.NOT_ONE_LAYER),
    ],
)
def test_what_is_not_one_layer_gets_an_answer_and_no_number(mask, status):
    answer = measure_layer(mask, 0.1)
    assert answer.status is status
    row = answer.row()
    assert row["status"] == str(status)
    assert all(row[name] == "" for name in COLUMNS if name not in ("image", "layer", "status"))
    assert answer.status.advice.endswith(".")


def test_image_without_scale_has_no_nanometres():
    answer = measure_layer(band(12, 8))
    assert answer.status is Status.NO_SCALE
    row = answer.row()
    assert row["mean_nm"] == row["low_95_nm"] == ""
    assert row["mean_px"] == pytest.approx(12, rel=0.01)


def test_specks_holes_and_cracks_do_not_change_the_layer():
    mask = band(20, 10)
    clean = measure_layer(mask, 0.1)
    spotted = mask.copy()
    spotted[90:94, 98:103] = False  # a hole
    spotted[20:26, 170:180] = True  # an irrelevant blob
    answer = measure_layer(spotted, 0.1)
    assert answer.mean == pytest.approx(clean.mean, abs=1e-9)
    broken = mask.copy()
    broken[120:123] = False
    answer = measure_layer(broken, 0.1)
    assert answer.status is Status.OK
    assert answer.mean == pytest.approx(20, rel=0.01)
    assert answer.count < clean.count


def test_unsure_probability_is_no_layer():
    assert measure_layer(0.6 * band(20, 10, soft=True), 0.1).status is Status.NOT_ONE_LAYER


def test_several_layers_get_one_row_each_from_left_to_right():
    both = band(9, 4, offset=-40) | band(17, 4, offset=40)
    rows = [answer.row() for answer in measure_layers(both, 0.1)]
    assert [row["layer"] for row in rows] == [1, 2]
    assert [row["mean_px"] for row in rows] == pytest.approx([9, 17], rel=0.02)
    labels = band(9, 4, offset=-40) + 2 * band(17, 4, offset=40).astype(int)
    assert [a.layer for a in measure_label_image(labels, 0.1, layers=(1, 2))] == [1, 2]
    assert measure_label_image(labels, 0.1)[0].mean == pytest.approx(9, rel=0.02)
    assert measure_layers(np.zeros((60, 60), bool))[0].status is Status.EMPTY


def test_json_has_units_and_no_nan():
    plain = as_dict(measure_layer(band(12, 8), 0.25))
    assert plain["mean_nm"] == pytest.approx(3, rel=0.01)
    assert plain["high_95_px"] > plain["low_95_px"]
    empty = as_dict(measure_layer(np.zeros((60, 60), bool), 0.25))
    assert empty["mean_nm"] is None
    assert "look at the image" in str(empty["advice"])


def test_bad_input_is_refused_with_advice():
    with pytest.raises(MicrotomoError, match="pixel size"):
        measure_layer(band(12, 0), -1.0)
    with pytest.raises(MicrotomoError, match="probabilities"):
        measure_layer(3.0 * band(12, 0, soft=True))
    with pytest.raises(MicrotomoError, match="labels == 1"):
        measure_layer(band(12, 0).astype(int))
    with pytest.raises(MicrotomoError, match="label image"):
        measure_label_image(band(12, 0, soft=True))
    with pytest.raises(MicrotomoError, match="shape 'round'"):
        measure_layer(band(12, 0), shape="round")


def test_mean_of_a_first_order_autoregression_has_the_textbook_variance():
    # Var(mean) = variance (1 + a) / (1 - a) / n for correlation a^k
    rng = np.random.default_rng(1)
    a, n = 0.9, 4000
    noise = rng.standard_normal((40, n + 200))
    values = np.zeros_like(noise)
    for k in range(1, n + 200):
        values[:, k] = a * values[:, k - 1] + noise[:, k]
    found = np.mean([long_run(v[200:])[0] for v in values])
    assert found == pytest.approx(1 / (1 - a) ** 2 / n, rel=0.15)


def test_interval_covers_for_white_and_for_correlated_lines():
    rng = np.random.default_rng(2)
    kernel = np.exp(-0.5 * (np.arange(-30, 31) / 8) ** 2)
    hits = {"white": 0, "correlated": 0}
    for _ in range(300):
        white = 20 + rng.standard_normal(400)
        smooth = 20 + np.convolve(rng.standard_normal(460), kernel / np.linalg.norm(kernel), "valid")
        for name, values in (("white", white), ("correlated", smooth)):
            error = mean_error(values, 0.0)
            hits[name] += error.low <= 20 <= error.high
    assert all(0.91 * 300 <= count <= 0.985 * 300 for count in hits.values()), hits


def test_rounding_of_an_edge_depends_on_its_direction():
    s = np.arange(300.0)
    upright = rounding_error(np.stack([s, np.full(300, 7.2)], 1))
    diagonal = rounding_error(np.stack([s, s], 1))
    oblique = rounding_error(np.stack([s, 0.3 * s], 1))
    assert upright == pytest.approx(1 / np.sqrt(12))
    assert diagonal == pytest.approx(1 / np.sqrt(24))
    assert oblique < 0.15 * upright
