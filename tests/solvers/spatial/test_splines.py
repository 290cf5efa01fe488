import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from microtomo.solvers.spatial.splines import Surface, splines

SIZES = [(9, 13, 4.0), (30, 5, 8.0), (1, 6, 3.0)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(surface):
    return torch.kron(surface.rows.contiguous(), surface.columns.contiguous())  # (pixel, spline)


def test_the_splines_are_those_of_scipy():
    found = splines(20, 6.0)
    at = (np.arange(20) + 0.5) / 6
    for i in range(found.shape[1]):
        spline = BSpline.basis_element(np.arange(-2.0, 3.0) + i - 1, extrapolate=False)
        np.testing.assert_allclose(found[:, i], np.nan_to_num(spline(at)), atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)  # nothing is missing at either end


@pytest.mark.parametrize("size", SIZES)
def test_products_and_variance_equal_dense_ones(size):
    surface = Surface(*size)
    matrix, weight = dense(surface), random(*size[:2])
    expected = matrix.T @ (weight.flatten()[:, None] * matrix)
    torch.testing.assert_close(surface.products(weight), expected)
    torch.testing.assert_close(surface.adjoint(weight), matrix.T @ weight.flatten())
    c = random(surface.count, seed=1)
    torch.testing.assert_close(surface.values(c).flatten(), matrix @ c)
    root = random(surface.count, surface.count, seed=2)
    covariance = root @ root.T
    expected = torch.einsum("pi,ij,pj->p", matrix, covariance, matrix)
    torch.testing.assert_close(surface.variance(covariance).flatten(), expected)


def test_bending_is_the_thin_plate_energy():
    surface = Surface(24, 32, 8.0)  # whole knots: the image is the domain
    y = (torch.arange(24, dtype=torch.float64) + 0.5)[:, None].expand(24, 32)
    x = (torch.arange(32, dtype=torch.float64) + 0.5).expand(24, 32)
    matrix, bend = dense(surface), surface.bending()

    def energy(field):
        c = torch.linalg.lstsq(matrix, field.flatten()[:, None]).solution[:, 0]
        assert float((matrix @ c - field.flatten()).abs().max()) < 1e-6
        return float(c @ bend @ c)

    assert energy(3 + 2 * x - 5 * y) == pytest.approx(0, abs=1e-6)
    area = 24 * 32
    assert energy(x**2) == pytest.approx(4 * area, rel=1e-6)
    assert energy(x * y) == pytest.approx(2 * area, rel=1e-6)
    # f = y^3: f_yy = 6 y, and the integral of 36 y^2 over 24 x 32 is 12 * 24^3 * 32
    assert energy(y**3) == pytest.approx(12 * 24**3 * 32, rel=1e-6)
