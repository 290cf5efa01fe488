import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.maps import Maps
from microtomo.tem.particles.measurement import particles_of
from microtomo.tem.particles.outlines import ANGLES, Bodies, draw
from microtomo.tem.particles.regions import regions
from microtomo.tem.particles.statistics import size_distribution
from microtomo.tem.particles.table import columns


def _maps(bodies: Bodies, shape: tuple[int, int] = (96, 96), zoom: float = 1.0) -> Maps:
    """What a perfect network would say."""
    drawing = draw(bodies, shape)
    sizes = np.concatenate([[1], bodies.diameters()])[drawing.label].astype(np.float32)
    own = (round(shape[0] / zoom), round(shape[1] / zoom))
    return Maps(drawing.coverage, drawing.depth, sizes, np.full(shape, 0.05, np.float32), zoom, own, True)


def _disks(*disks: tuple[float, float, float]) -> Bodies:
    """Disks (y, x, radius)."""
    values = np.array(disks)
    count = len(values)
    outlines = np.repeat(values[:, 2:], ANGLES, axis=1)
    return Bodies(values[:, :2], outlines, np.ones(count), np.tile([2.0, 0.5], (count, 1)))


def _ellipse(major: float, minor: float) -> Bodies:
    theta = 2 * np.pi * np.arange(ANGLES) / ANGLES
    radii = major * minor / np.hypot(minor * np.cos(theta), major * np.sin(theta)) / 2
    return Bodies(np.array([[45.2, 47.7]]), radii[None], np.ones(1), np.array([[2.0, 0.5]]))


def test_a_disk_is_measured_to_a_fraction_of_a_pixel() -> None:
    maps = _maps(_disks((45.3, 40.8, 10.0)))
    disk = particles_of(maps, regions(maps.cover, maps.depth))
    assert (disk.x[0], disk.y[0]) == (pytest.approx(40.8, abs=0.03), pytest.approx(45.3, abs=0.03))
    assert disk.diameter_px[0] == pytest.approx(20, rel=0.01)
    assert disk.feret_px[0] == pytest.approx(20, abs=0.3)
    assert disk.major_px[0] == pytest.approx(20, rel=0.02)
    assert disk.circularity[0] > 0.95
    assert not disk.border[0]


def test_an_ellipse_has_its_axes_and_its_calipers() -> None:
    maps = _maps(_ellipse(30, 14))
    one = particles_of(maps, regions(maps.cover, maps.depth))
    assert one.major_px[0] == pytest.approx(30, rel=0.02)
    assert one.minor_px[0] == pytest.approx(14, rel=0.03)
    assert one.feret_px[0] == pytest.approx(30, abs=0.5)
    assert one.least_feret_px[0] == pytest.approx(14, abs=0.5)
    # the ratio of area to that of a circle of the same perimeter (Ramanujan's approximation)
    h = ((15 - 7) / (15 + 7)) ** 2
    perimeter = np.pi * 22 * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    assert one.circularity[0] == pytest.approx(4 * np.pi * np.pi * 105 / perimeter**2, rel=0.04)


def test_touching_disks_are_two_and_a_single_one_is_not_split() -> None:
    maps = _maps(_disks((45, 35, 9), (45, 52, 8.5)))
    pair = particles_of(maps, regions(maps.cover, maps.depth))
    assert len(pair) == 2
    assert np.sort(pair.diameter_px) == pytest.approx([17, 18], rel=0.03)
    maps = _maps(_ellipse(40, 14))
    assert len(particles_of(maps, regions(maps.cover, maps.depth))) == 1


def test_particles_on_the_border_are_flagged_and_kept() -> None:
    maps = _maps(_disks((2, 40, 8), (60, 60, 8)))
    two = particles_of(maps, regions(maps.cover, maps.depth))
    assert sorted(two.border) == [False, True]


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_a_zoomed_map_is_measured_in_pixels_of_the_image(zoom: float) -> None:
    maps = _maps(_disks((45.5, 39.5, 10.0)), zoom=zoom)
    disk = particles_of(maps, regions(maps.cover, maps.depth))
    assert disk.diameter_px[0] == pytest.approx(20 / zoom, rel=0.01)
    # pixel centres at whole numbers: 39.5 + 0.5 pixels from the left edge, at either scale
    assert disk.x[0] == pytest.approx(40 / zoom - 0.5, abs=0.03 / zoom)
    assert disk.x0[0] < disk.x[0] - 9.7 / zoom
    assert disk.x1[0] > disk.x[0] + 9.7 / zoom


def test_an_empty_image_has_no_particles_and_no_rows() -> None:
    zero = np.zeros((64, 64), dtype=np.float32)
    maps = Maps(zero, zero, zero + 1, zero + 1, 1.0, (64, 64), True)
    none = particles_of(maps, regions(zero, zero))
    assert len(none) == 0
    assert all(len(column.values) == 0 for column in columns(none, 1.0))


def test_nanometres_stand_where_the_pixel_size_is_known() -> None:
    maps = _maps(_disks((45.3, 40.8, 10.0)))
    disk = particles_of(maps, regions(maps.cover, maps.depth))
    known, unknown = ({c.name: c.values[0] for c in columns(disk, pixel_nm)} for pixel_nm in (0.5, None))
    assert known["diameter_nm"] == pytest.approx(10, rel=0.01)
    assert unknown["diameter_nm"] == ""
    with pytest.raises(MicrotomoError, match="pixel_nm"):
        columns(disk, 0.0)


def test_a_log_normal_sample_gives_its_own_parameters_back() -> None:
    drawn = np.exp(np.random.default_rng(1).normal(np.log(5), 0.3, 20000))
    fit = size_distribution(drawn)
    assert fit.geometric_mean == pytest.approx(5, rel=0.01)
    assert fit.geometric_deviation == pytest.approx(np.exp(0.3), rel=0.01)
    assert fit.mean == pytest.approx(5 * np.exp(0.045), rel=0.01)
    assert fit.surface_mean == pytest.approx(5 * np.exp(2.5 * 0.09), rel=0.02)  # moments of the log-normal
    assert fit.counts.sum() == 20000
    d = np.linspace(0.5, 30, 4000)
    assert np.trapezoid(fit.density(d), d) == pytest.approx(1, abs=1e-3)


def test_border_particles_do_not_count_and_nothing_left_is_an_error() -> None:
    assert size_distribution(np.array([3.0, 4.0, 100.0]), np.array([False, False, True])).mean == 3.5
    with pytest.raises(MicrotomoError, match="no whole particle"):
        size_distribution(np.array([3.0]), np.array([True]))
