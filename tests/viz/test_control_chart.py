"""Control chart and histogram: limits by hand, order by date."""

from datetime import date

import numpy as np
import pytest

from microtomo.viz.control_chart import control_figure, control_limits, histogram_figure


def test_limits_are_those_of_the_moving_range_by_hand():
    least, mean, most = control_limits([1.0, 2.0, 4.0, 1.0])  # ranges 1, 2, 3: mean 2
    assert (least, mean, most) == pytest.approx((2 - 5.32, 2, 2 + 5.32))
    least, mean, most = control_limits([3.0])
    assert mean == 3
    assert np.isnan([least, most]).all()


def test_values_stand_in_the_order_of_their_dates_and_what_is_beyond_the_limits_is_marked():
    values = [5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0]
    dates = [date(2026, 12, 1), *[date(2026, 1, 1 + k // 2) for k in range(11)]]
    figure = control_figure(values, [v - 0.1 for v in values], [v + 0.1 for v in values], dates, "d [nm]")
    (axes,) = figure.axes
    shown, *_, beyond = [line for line in axes.lines if line.get_marker() == "o"]
    assert shown.get_ydata()[-1] == 5
    assert beyond.get_ydata().tolist() == [5]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert (labels[0], labels[-1]) == ("2026-01-01", "2026-12-01")


def test_histogram_counts_every_image():
    figure = histogram_figure([1.0, 2.0, 2.1, 5.0], "d [nm]")
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 4
