"""The illumination surface and what is left after it is divided out."""

import numpy as np
import pytest
from scipy.special import comb

from microtomo.errors import MicrotomoError
from microtomo.tem.illumination import bernstein, illumination, normalise


def surface(shape, coefficients):
    v, u = (((np.arange(n) + 0.5) / n)[:, None] for n in shape)
    along = [np.hstack([comb(2, i) * t**i * (1 - t) ** (2 - i) for i in range(3)]) for t in (v, u)]
    return along[0] @ np.asarray(coefficients, float) @ along[1].T


K = [[80, 120, 90], [100, 160, 110], [70, 90, 130]]


def test_a_bezier_surface_is_found_exactly():
    wanted = surface((40, 70), K)
    np.testing.assert_allclose(illumination(wanted.astype(np.float32)), wanted, rtol=2e-5)


def test_the_basis_sums_to_one_and_reaches_the_corners():
    basis = bernstein(500)
    np.testing.assert_allclose(basis.sum(1), 1)
    assert basis[0, 0] > 0.99 < basis[-1, 2]


def test_structure_survives_and_illumination_goes():
    rng = np.random.default_rng(1)
    structure = 1 + 0.1 * rng.standard_normal((128, 96))
    flat = normalise(structure * surface((128, 96), K))
    assert flat.dtype == np.float32
    assert float(flat.mean()) == pytest.approx(0, abs=1e-5)
    assert float(flat.std()) == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(flat.ravel(), structure.ravel())[0, 1] > 0.998


def test_normalised_images_have_no_illumination():
    with pytest.raises(MicrotomoError, match="give the recorded counts"):
        normalise(np.random.default_rng(0).standard_normal((64, 64)))


def test_an_image_of_illumination_alone_is_refused():
    with pytest.raises(MicrotomoError, match="nothing but its illumination"):
        normalise(np.full((64, 64), 4.0))
