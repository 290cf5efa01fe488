import numpy as np
import pytest

from microtomo import MicrotomoError
from microtomo.study import Study
from microtomo.viz.maps import ColourScale, map_names, map_scale, one_map


def test_every_map_is_drawn_with_its_scale(rec, scan, maps):
    study = Study("rec.h5", rec, scan, maps)
    for name in map_names(study):
        assert map_scale(study, name).paint(one_map(study, name)).shape == (24, 32, 4)
    np.testing.assert_allclose(one_map(study, "Al error"), 4)
    np.testing.assert_allclose(one_map(study, "signal", 30), study.scan.data[30])
    with pytest.raises(MicrotomoError, match="no map 'gold'"):
        one_map(study, "gold")


def test_values_that_are_not_finite_are_transparent():
    pixels = ColourScale("gray", 0, 2, "nm").paint(np.array([[0, 2, np.nan]]))
    np.testing.assert_array_equal(pixels[0], [(0, 0, 0, 255), (255, 255, 255, 255), (0, 0, 0, 0)])
