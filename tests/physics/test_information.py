"""What a pixel can tell: against closed forms, densities integrated by hand, and the scatter of estimates."""

import numpy as np
import pytest
import torch
from scipy import stats

from microtomo.errors import MicrotomoError
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import backscatter, forward_model
from microtomo.physics.information import fisher_information, image_information, precision_nm
from microtomo.simulate.scans import simulate_scan

AU_AL = load_stack("au-al-si")
MODEL = forward_model("material", AU_AL)
# Al, Au [nm] and their bounds at 2 % noise, 31 energies, material forward, as published with the physics
BOUNDS = [(30, 1, 0.09, 42), (30, 5, 0.15, 7.3), (75, 10, 0.26, 3.8), (149, 1, 0.13, 16), (149, 14, 0.36, 4.1)]


def gold(energies, max_nm=15.0):
    m = builtin_materials()
    layers = (Layer(material=m["Au"], max_nm=max_nm),)
    return Stack(name="gold", substrate=m["Si"], layers=layers, energies_kev=tuple(energies))


def differences(thickness, stack, forward, energies_kev=None, step=1e-4):
    """dI/dd (e, l) of one pixel by central differences."""
    at = torch.tensor(thickness, dtype=torch.float64)
    columns = []
    for k in range(len(at)):
        ends = at.repeat(2, 1)
        ends[0, k], ends[1, k] = at[k] + step, at[k] - step
        up, down = (backscatter(d[:, None, None], stack, forward, energies_kev)[:, 0, 0] for d in ends)
        columns.append((up - down) / (2 * step))
    return torch.stack(columns, 1)


def signal_of(thickness, stack, forward="material", energies_kev=None):
    at = torch.tensor(thickness, dtype=torch.float64)[:, None, None]
    return backscatter(at, stack, forward, energies_kev)[:, 0, 0]


@pytest.mark.parametrize(("al", "au", "sigma_au", "sigma_al"), BOUNDS)
def test_bound_is_the_tabulated_one(al, au, sigma_au, sigma_al):
    fisher = fisher_information(torch.tensor([au, al], dtype=torch.float64), MODEL)
    assert precision_nm(fisher[..., None], AU_AL)[:, 0].tolist() == pytest.approx([sigma_au, sigma_al], rel=0.03)


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_relative_noise_gives_the_closed_form(forward, noise):
    slope = differences([7.0, 60.0], AU_AL, forward) / signal_of([7.0, 60.0], AU_AL, forward)[:, None]
    expected = (1 / noise**2 + 2) * slope.T @ slope
    found = fisher_information(
        torch.tensor([7.0, 60.0]).double(), forward_model(forward, AU_AL), detector=Detector(noise=noise)
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_counts_give_the_closed_form_of_poisson():
    slope, signal = differences([7.0, 60.0], AU_AL, "material"), signal_of([7.0, 60.0], AU_AL)
    expected = slope.T @ (slope * 40 / signal[:, None])
    shot = Detector(noise=0, electrons_per_pixel=40)
    found = fisher_information(torch.tensor([7.0, 60.0]).double(), MODEL, detector=shot)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("electrons", "noise"), [(30, 0.1), (30, 0.3), (300, 0.05)])
def test_counts_with_relative_noise_tell_hardly_less_than_their_density(electrons, noise):
    energies = (10.0,)
    stack = gold(energies)
    mean = electrons * float(signal_of([6.0], stack))
    y = np.linspace(-mean, 4 * mean, 40001)

    def density(m):  # of c (1 + s n), c Poisson of mean m and not 0
        c = np.arange(max(1, int(m - 9 * m**0.5)), int(m + 12 * m**0.5))
        return stats.poisson.pmf(c, m) @ stats.norm.pdf(y[None], c[:, None], noise * c[:, None])

    step = 1e-3 * mean
    rise = (density(mean + step) - density(mean - step)) / (2 * step)
    exact = float(np.trapezoid(rise**2 / np.maximum(density(mean), 1e-300), y))  # about the mean
    slope = float(differences([6.0], stack, "material")) * electrons
    detector = Detector(noise=noise, electrons_per_pixel=electrons)
    found = (
        float(fisher_information(torch.tensor([6.0]).double(), forward_model("material", stack), detector=detector))
        / slope**2
    )
    assert found <= exact * (1 + 1e-4)
    assert found == pytest.approx(exact, rel=0.03)


def maximum_likelihood(observed, start, stack, noise):
    """Thickness (p,) of a single layer by Newton steps on the exact likelihood of relative noise."""
    d = torch.full((observed.shape[1],), start, dtype=torch.float64)
    for _ in range(10):
        d = d.detach().requires_grad_()
        model = backscatter(d[None, None], stack, "material")[:, 0]
        cost = (((observed / model - 1) ** 2) / (2 * noise**2) + model.log()).sum(0)
        (slope,) = torch.autograd.grad(cost.sum(), d, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), d)
        d = d - (slope / bend.abs()).detach().clamp(-0.5, 0.5)
    return d.detach()


@pytest.mark.parametrize("noise", [0.02, 0.4])
def test_estimates_scatter_as_the_bound_says(noise):
    # at 40 % noise a quarter of the information is in the width of the scatter; many images keep the estimate linear
    stack = gold(np.linspace(5, 35, 400))
    truth = torch.full((1, 40, 50), 6.0, dtype=torch.float64)
    observed = simulate_scan(stack, truth, forward="material", noise=noise, seed=4).data.flatten(1)
    found = maximum_likelihood(observed, 6.0, stack, noise)
    bound = precision_nm(
        fisher_information(truth[:, :1, 0], forward_model("material", stack), detector=Detector(noise=noise)), stack
    )
    assert float(found.std()) == pytest.approx(float(bound), rel=0.05)  # 2000 pixels: 1.6 % is one deviation
    assert float(found.mean()) == pytest.approx(6, abs=0.2 * float(bound))


def test_images_add_up_and_energies_can_be_any():
    thickness = torch.rand(2, 3, 4, dtype=torch.float64) * torch.tensor(AU_AL.max_nm).double()[:, None, None]
    each = image_information(thickness, MODEL)
    assert each.shape == (31, 2, 2, 3, 4)
    chosen = [0, 4, 11]
    some = fisher_information(thickness, MODEL.with_energies([AU_AL.energies_kev[e] for e in chosen]))
    torch.testing.assert_close(some, each[chosen].sum(0))
    nothing = [float(e in chosen) for e in range(31)]
    torch.testing.assert_close(fisher_information(thickness, MODEL, dose=nothing), some)


@pytest.mark.parametrize("detector", [Detector(noise=0.02), Detector(noise=0, electrons_per_pixel=500)])
def test_four_times_the_dose_halves_the_deviation(detector):
    thickness = torch.tensor([[3.0, 9.0], [40.0, 120.0]])
    once, four = (
        precision_nm(fisher_information(thickness, MODEL, detector=detector, dose=[w] * 31), AU_AL) for w in (1, 4)
    )
    torch.testing.assert_close(four, once / 2, rtol=1e-3, atol=0)  # but for the width of the scatter
    assert once.dtype == torch.float32


def test_what_a_scan_does_not_tell_is_infinite_and_the_range_bounds_it():
    thickness = torch.tensor([[5.0], [60.0]], dtype=torch.float64)
    one = fisher_information(thickness, MODEL.with_energies([20.0]))  # one number for two thicknesses
    assert torch.isinf(precision_nm(one, AU_AL)).all()
    within = precision_nm(one, AU_AL, within_range=True)[:, 0]
    assert (within <= torch.tensor(AU_AL.max_nm) / 12**0.5).all()
    thick = fisher_information(torch.tensor([[5.0], [150.0]]).double(), MODEL.with_energies([2.0, 2.5]))
    assert torch.isinf(precision_nm(thick, AU_AL)).all()  # the beam ends in the aluminium


def test_deviations_are_those_of_the_inverse():
    fisher = torch.tensor([[4.0, 0.1], [0.1, 0.01]], dtype=torch.float64)
    variance = np.linalg.inv(fisher.numpy()).diagonal()
    assert precision_nm(fisher[..., None], AU_AL)[:, 0].numpy() ** 2 == pytest.approx(variance)
    prior = np.linalg.inv(fisher.numpy() + np.diag([12 / 15**2, 12 / 150**2])).diagonal()
    assert precision_nm(fisher[..., None], AU_AL, within_range=True)[:, 0].numpy() ** 2 == pytest.approx(prior)


@pytest.mark.parametrize("forward", ["material", "published"])
def test_absent_layers_have_a_finite_deviation(forward):
    thickness = torch.tensor([[0.0, 0.0, 9.0], [0.0, 80.0, 0.0]])
    deviation = precision_nm(fisher_information(thickness, forward_model(forward, AU_AL)), AU_AL, within_range=True)
    assert torch.isfinite(deviation).all()
    assert (deviation > 0).all()


def test_information_can_be_differentiated_in_the_dose():
    dose = torch.ones(31, dtype=torch.float64, requires_grad=True)
    thickness = torch.tensor([[5.0], [60.0]], dtype=torch.float64)
    total = precision_nm(fisher_information(thickness, MODEL, dose=dose), AU_AL).sum()
    (slope,) = torch.autograd.grad(total, dose)
    assert (slope < 0).all()


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"detector": Detector(noise=0)}, "give a noise level"),
        ({"dose": [1.0] * 30}, "give 31 numbers"),
        ({"dose": [-1.0] * 31}, "give 31 numbers"),
    ],
)
def test_impossible_settings_are_refused(more, match):
    with pytest.raises(MicrotomoError, match=match):
        fisher_information(torch.ones(2, 3), MODEL, **more)


def test_a_wrong_number_of_layers_is_refused():
    with pytest.raises(MicrotomoError, match="wants 2 layers first"):
        fisher_information(torch.ones(3, 4), MODEL)
