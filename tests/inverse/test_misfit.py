import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microtomo.inverse.misfit import NOISE_FLOOR, Grid, cost_at, slopes
from microtomo.physics.forward import backscatter, forward_model
from microtomo.physics.information import relative_information
from problems import AU_AL, TWELVE, flat, scan_of, stack_of


def plain_misfit(observed, signal, noise):
    """sum_e (I_obs / I - 1)^2 / (2 s^2) + ln I, pixel by pixel and label by label: (p, L)."""
    observed, signal = observed.double().numpy(), signal.double().numpy()
    s = max(noise, NOISE_FLOOR)
    out = np.empty((observed.shape[1], signal.shape[1]))
    for p in range(observed.shape[1]):
        for label in range(signal.shape[1]):
            ratio = observed[:, p] / signal[:, label]
            out[p, label] = ((ratio - 1) ** 2).sum() / (2 * s**2) + np.log(signal[:, label]).sum()
    return out


def grid_of(stack=AU_AL, forward="material", counts=(4, 5)):
    return Grid(
        [torch.linspace(0, nm, n) for nm, n in zip(stack.max_nm, counts, strict=False)], forward_model(forward, stack)
    )


@pytest.mark.parametrize("symbols", [("Al",), ("Au", "Al"), ("Au", "Al", "Ti")])
def test_labels_run_through_all_combinations_first_layer_slowest(symbols):
    stack = stack_of(*symbols)
    grid = grid_of(stack, counts=(2, 3, 4))
    assert len(grid) == int(np.prod((2, 3, 4)[: len(symbols)]))
    expected = np.array([[float(v) for v in c] for c in np.ndindex(*grid.shape)])
    for k in range(len(symbols)):
        np.testing.assert_allclose(grid.thickness[k], grid.levels[k].numpy()[expected[:, k].astype(int)])
    for label in (0, len(grid) - 1, len(grid) // 2):
        alone = backscatter(grid.thickness[:, label, None, None], stack, "material")[:, 0, 0]
        np.testing.assert_allclose(grid.signal[:, label], alone, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 0.3), st.integers(1, 4), st.integers(0, 99), st.sampled_from(["material", "published"]))
def test_misfit_is_the_plain_formula(noise, pixels, seed, forward):
    grid = grid_of(forward=forward)
    observed = 1 + torch.rand(31, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = plain_misfit(observed, grid.signal, noise)
    # float32 from 1 % noise on: 1e-6 of the largest terms
    np.testing.assert_allclose(grid.misfit(observed, noise), expected, rtol=2e-5, atol=0.02)


def test_misfit_is_exact_where_noise_is_low():
    grid = grid_of()
    observed = scan_of(flat(6.0, 70.0, height=2, width=2), noise=0.0).flatten(1).double()
    np.testing.assert_allclose(grid.misfit(observed, 1e-3), plain_misfit(observed, grid.signal, 1e-3), rtol=1e-10)


def test_misfit_of_sums_is_the_sum_of_the_misfits():
    grid = grid_of()
    observed = scan_of(torch.rand(2, 6, 5) * torch.tensor(AU_AL.max_nm)[:, None, None]).flatten(1).double()
    moments = torch.stack([observed, observed**2]).reshape(2, 31, 6, 5).sum(3)
    found = grid.misfit(moments, 0.02, torch.full((6,), 5.0, dtype=torch.float64))
    expected = plain_misfit(observed, grid.signal, 0.02).reshape(6, 5, -1).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_cost_at_a_thickness_is_the_misfit_of_its_label():
    grid = grid_of()
    observed = scan_of(flat(6.0, 70.0)).flatten(1).double().expand(31, len(grid))
    np.testing.assert_allclose(
        cost_at(observed, grid.signal, 0.02), plain_misfit(observed[:, :1], grid.signal, 0.02)[0], rtol=1e-10
    )


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_response_of_flat_pixels_is_the_attenuation_model(forward, dtype):
    thickness = torch.rand(2, 50, dtype=dtype) * torch.tensor(AU_AL.max_nm, dtype=dtype)[:, None]
    expected = backscatter(thickness.double()[:, None], AU_AL, forward)[:, 0]
    found = forward_model(forward, AU_AL).response(thickness)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol={torch.float32: 2e-6, torch.float64: 1e-12}[dtype])


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("symbols", [("Au",), ("Au", "Al"), ("Au", "Al", "Ti")])
def test_slopes_equal_automatic_differentiation(forward, symbols):
    stack = stack_of(*symbols, energies_kev=TWELVE)
    share = torch.linspace(0.2, 0.8, 7, dtype=torch.float64)
    thickness = torch.stack([share * nm for nm in stack.max_nm]).requires_grad_()
    logs = backscatter(thickness[:, None], stack, forward)[:, 0].log()
    exact = torch.stack([torch.autograd.grad(row.sum(), thickness, retain_graph=True)[0] for row in logs], 1)
    with torch.no_grad():
        found = slopes(thickness, forward_model(forward, stack), forward_model(forward, stack).response(thickness))
    np.testing.assert_allclose(found, exact, atol=0.03 * float(exact.abs().max()))


def test_published_slope_of_an_absent_layer_is_the_one_beside_the_jump():
    thickness = flat(0.0, 60.0, dtype=torch.float64)[:, 0]
    published = forward_model("published", AU_AL)
    slope = slopes(thickness, published, published.response(thickness))
    # across the jump the signal would change by tens of per cent in 0.05 nm
    assert float(slope[0].abs().max()) < 1


def test_information_is_the_sum_over_energies_over_the_noise():
    slope = torch.rand(3, 12, 2, dtype=torch.float64)
    found = relative_information(slope, 0.05)
    for p in range(2):
        np.testing.assert_allclose(found[:, :, p], slope[:, :, p].numpy() @ slope[:, :, p].numpy().T / 0.05**2)
