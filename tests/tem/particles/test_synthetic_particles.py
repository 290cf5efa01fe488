import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.series import coarsened, time_series
from microtomo.tem.particles.synthetic import Conditions, particle_image
from microtomo.tem.particles.training_images import training_image

SMALL = Conditions(size=(128, 160), covered=(0.05, 0.2), diameter_px=(8, 16))


def test_the_same_seed_gives_the_same_bytes_in_whatever_order() -> None:
    forwards = [particle_image(5, k, SMALL).image.tobytes() for k in range(4)]
    backwards = [particle_image(5, k, SMALL).image.tobytes() for k in reversed(range(4))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 4
    assert particle_image(6, 0, SMALL).image.tobytes() not in forwards


@pytest.mark.parametrize("index", range(3))
def test_coverage_is_what_the_outlines_enclose(index: int) -> None:
    made = particle_image(11, index, Conditions(size=(256, 256), touching=(0, 0), covered=(0.02, 0.04)))
    inside = made.particles.areas()[~made.border].sum()
    label = made.drawing.label
    whole = np.isin(label, 1 + np.flatnonzero(~made.border))
    # particles may overlap a little, so that less is covered than the areas add up to, never more
    assert made.drawing.coverage[whole].sum() == pytest.approx(inside, rel=0.06)


def test_bright_particles_are_brighter_and_dark_ones_darker_than_what_is_beside_them() -> None:
    for mode, sign in (("haadf", 1), ("bf", -1)):
        c = Conditions(size=(192, 192), modes=(mode,), contrast=(2, 4), dose_per_a2=(5e3, 5e3), covered=(0.1, 0.1))
        differences = []
        for index in range(4):
            made = particle_image(3, index, c)
            deep = made.drawing.depth > 0.5
            differences.append(sign * (made.image[deep].mean() - made.image[made.drawing.coverage == 0].mean()))
            assert made.bright == (sign > 0)
        assert np.mean(np.array(differences) > 0) == 1


def test_particles_that_the_edge_cuts_are_flagged_and_keep_their_whole_size() -> None:
    made = [particle_image(8, k, SMALL) for k in range(6)]
    for one in made:
        boxes, (high, wide) = one.particles.boxes(), one.image.shape
        cut = (boxes[:, :2] < -0.5).any(1) | (boxes[:, 2] > wide - 0.5) | (boxes[:, 3] > high - 0.5)
        assert np.array_equal(cut, one.border)
    assert sum(one.border.sum() for one in made) > 0


def test_counts_at_the_lowest_dose_have_poisson_noise() -> None:
    c = Conditions(size=(128, 128), modes=("bf",), dose_per_a2=(80, 80), pixel_nm=(0.3, 0.3), covered=(0.01, 0.01))
    made = particle_image(2, 0, c)
    # 80 electrons per square angstrom on pixels of 3 x 3 angstrom
    assert made.image.max() < 720 * 2
    assert made.image.mean() < 720


def test_large_and_small_images_are_made_and_senseless_conditions_refused() -> None:
    assert particle_image(1, 0, Conditions(size=(256, 512))).image.shape == (256, 512)
    with pytest.raises(MicrotomoError, match="size"):
        Conditions(size=(8, 8))
    with pytest.raises(MicrotomoError, match="contrast"):
        Conditions(contrast=(2.0, 1.0))
    with pytest.raises(MicrotomoError, match="seed"):
        particle_image(-1)


def test_training_images_are_normalised_and_their_targets_agree() -> None:
    for index in range(6):
        one = training_image(4, index, 96)
        assert one.image.dtype == np.float32
        assert 0.4 < one.image.std() < 1.8
        assert ((one.size > 0) >= (one.cover > 0)).all()
        assert ((one.depth >= 0) & (one.depth <= 1)).all()


def test_ripening_keeps_the_volume_shrinks_the_small_and_grows_the_large() -> None:
    radii = np.array([2.0, 4.0, 5.0, 6.0, 8.0])
    later = coarsened(radii, 20.0)
    assert (later**3).sum() == pytest.approx((radii**3).sum(), rel=1e-12)
    assert later[0] < 2
    assert later[-1] > 8
    # to first order in time: r^3 grows by 3 K t (r / mean - 1)
    short = coarsened(radii, 1e-3)
    assert (short**3 - radii**3) == pytest.approx(3e-3 * (radii / 5 - 1), abs=1e-6)


def test_a_series_keeps_names_and_coarsens() -> None:
    frames = list(time_series(3, 5, conditions=SMALL, rate=0.4))
    again = list(time_series(3, 5, conditions=SMALL, rate=0.4))
    assert [f.image.tobytes() for f in frames] == [f.image.tobytes() for f in again]
    assert set(frames[-1].numbers) <= set(range(4000))
    assert len(frames[-1].numbers) < len(frames[0].numbers)
    assert frames[-1].particles.diameters().mean() > frames[0].particles.diameters().mean()
