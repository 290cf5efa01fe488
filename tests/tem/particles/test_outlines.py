import numpy as np
import pytest

from microtomo.tem.particles.outlines import ANGLES, Bodies, draw, facetted, rounded


def _one(
    radii: np.ndarray, centre: tuple[float, float] = (40.3, 39.6), profile: tuple[float, float] = (2, 0.5)
) -> Bodies:
    return Bodies(np.array([centre]), np.atleast_2d(radii), np.ones(1), np.array([profile]))


def test_a_circle_has_the_area_diameter_and_calipers_of_a_circle() -> None:
    circle = _one(np.full(ANGLES, 10.0))
    # a polygon in polar coordinates: exactly a circle where all radii are equal
    assert circle.areas()[0] == pytest.approx(np.pi * 100, rel=1e-12)
    assert circle.diameters()[0] == pytest.approx(20, rel=1e-12)
    largest, smallest = circle.feret()
    assert largest[0] == pytest.approx(20, rel=1e-9)
    assert smallest[0] == pytest.approx(20, rel=1e-3)


def test_an_ellipse_has_its_own_area_and_calipers() -> None:
    theta = 2 * np.pi * np.arange(ANGLES) / ANGLES
    ellipse = _one(12 * 6 / np.hypot(6 * np.cos(theta), 12 * np.sin(theta)))
    assert ellipse.areas()[0] == pytest.approx(np.pi * 72, rel=4e-3)
    largest, smallest = ellipse.feret()
    assert largest[0] == pytest.approx(24, rel=1e-9)
    assert smallest[0] == pytest.approx(12, rel=5e-3)


@pytest.mark.parametrize("diameter", [4.0, 9.0, 25.0])
def test_coverage_on_pixels_adds_up_to_the_exact_area(diameter: float) -> None:
    rng = np.random.default_rng(3)
    outlines = np.concatenate([rounded(4, 0.2, 0.05, rng), facetted(4, 0.2, rng)]) * diameter / 2
    for outline in outlines:
        body = _one(outline, centre=(40 + rng.random(), 40 + rng.random()))
        assert draw(body, (80, 80)).coverage.sum() == pytest.approx(np.pi / 4 * diameter**2, rel=0.012)


def test_the_thickness_of_a_sphere_adds_up_to_its_volume() -> None:
    drawing = draw(_one(np.full(ANGLES, 10.0)), (80, 80))
    # half the height at the centre is 1 here: 2/3 of the enclosing cylinder
    assert drawing.thickness.sum() == pytest.approx(2 / 3 * np.pi * 100, rel=4e-3)


def test_what_lies_beyond_the_border_is_cut_off() -> None:
    whole = draw(_one(np.full(ANGLES, 8.0)), (80, 80)).coverage
    cut = draw(_one(np.full(ANGLES, 8.0)).moved(-40.3 - 0.5, 0), (80, 80)).coverage  # centre on the upper edge
    assert cut.sum() == pytest.approx(whole.sum() / 2, rel=5e-3)


def test_of_two_that_overlap_each_pixel_belongs_to_the_one_it_lies_deeper_in() -> None:
    pair = Bodies(
        np.array([[40.0, 32.0], [40.0, 44.0]]), np.full((2, ANGLES), 8.0), np.ones(2), np.tile([2.0, 0.5], (2, 1))
    )
    label = draw(pair, (80, 80)).label
    assert set(label[40, 25:38]) == {1}
    assert set(label[40, 39:52]) == {2}
