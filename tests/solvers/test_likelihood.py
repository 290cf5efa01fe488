import pytest
import torch

from microtomo.physics.forward import backscatter
from microtomo.registry import get_method
from microtomo.solvers.likelihood import deviation_within_range
from problems import AU_AL, TWELVE, flat, problem_of, scan_of, stack_of

# Al, Au [nm] and the deviations of gold and aluminium, from the table of the Cramer-Rao bound: 2 %, 31 energies
BOUNDS = [(30, 1, 0.09, 42), (30, 5, 0.15, 7.3), (75, 10, 0.26, 3.8), (149, 1, 0.13, 16), (149, 14, 0.36, 4.1)]


def run(signal, stack=AU_AL, forward="material", noise=0.02, **options):
    batch = signal if signal.ndim == 4 else signal[None]
    with torch.inference_mode():
        return get_method("likelihood").run(batch, problem_of(stack, forward, noise, len(batch)), **options)


def fisher(thickness, stack, forward, noise):
    """Information (l, l) of one pixel by automatic differentiation in double precision."""
    at = torch.tensor(thickness, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(
        lambda d: backscatter(d[:, None, None], stack, forward).log()[:, 0, 0], at
    )
    return slope.T @ slope / noise**2


@pytest.mark.parametrize(("al", "au", "sigma_au", "sigma_al"), BOUNDS)
def test_deviation_is_the_tabulated_bound_joined_to_the_range(al, au, sigma_au, sigma_al):
    information = fisher((au, al), AU_AL, "material", 0.02)
    bound = torch.linalg.inv(information).diagonal().sqrt()
    assert bound.tolist() == pytest.approx([sigma_au, sigma_al], rel=0.06)
    flat_prior = torch.diag(torch.tensor([12 / 15**2, 12 / 150**2], dtype=torch.float64))
    expected = torch.linalg.inv(information + flat_prior).diagonal().sqrt()
    found = deviation_within_range(flat(au, al)[:, 0], problem_of(), 0.02)[:, 0]
    assert found.tolist() == pytest.approx(expected.tolist(), rel=0.05)
    if sigma_al < 10:  # the range of 150 nm adds little here
        assert found.tolist() == pytest.approx([sigma_au, sigma_al], rel=0.06)


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("symbols", [("Au",), ("Au", "Al"), ("Au", "Al", "Ti")])
def test_deviation_of_any_stack_is_the_inverse_information(forward, symbols):
    stack = stack_of(*symbols, energies_kev=TWELVE)
    thickness = [0.6 * nm for nm in stack.max_nm]
    prior = torch.diag(torch.tensor([12 / nm**2 for nm in stack.max_nm], dtype=torch.float64))
    expected = torch.linalg.inv(fisher(thickness, stack, forward, 0.05) + prior).diagonal().sqrt()
    found = deviation_within_range(flat(*thickness)[:, 0], problem_of(stack, forward), 0.05)[:, 0]
    assert found.tolist() == pytest.approx(expected.tolist(), rel=0.05)


@pytest.mark.parametrize(("al", "au", "sigma_au", "sigma_al"), [BOUNDS[2], BOUNDS[4]])
def test_estimates_scatter_as_much_as_their_deviation_says(al, au, sigma_au, sigma_al):
    truth = flat(au, al, height=40, width=40)
    found = run(scan_of(truth, seed=3))
    inside = found.thickness[0, :, found.thickness[0, 1] < 149.5]  # the range ends 1 nm above the thickest
    if al < 100:
        assert inside.std(1).tolist() == pytest.approx([sigma_au, sigma_al], rel=0.08)
        assert inside.mean(1).tolist() == pytest.approx([au, al], abs=0.4)
    normalised = ((found.thickness - truth) / found.uncertainty)[0]
    assert float((normalised.abs() < 1.96).float().mean()) > 0.93


@pytest.mark.parametrize("forward", ["material", "published"])
def test_noise_free_thickness_is_recovered_between_the_points_of_the_grid(forward):
    gold, aluminium = torch.meshgrid(torch.linspace(3.3, 14.7, 9), torch.linspace(21.7, 147.9, 11), indexing="ij")
    truth = torch.stack([gold, aluminium])
    found = run(scan_of(truth, forward=forward, noise=0.0), forward=forward, noise=0.0, iterations=30)
    assert bool(found.converged.all())
    error = (found.thickness[0] - truth).abs()
    assert float(error[0].max()) < 0.02
    assert float(error[1].max()) < 0.5


def test_three_layers_are_recovered_without_noise():
    stack = stack_of("Au", "Al", "Ti")
    truth = flat(8.3, 61.0, 33.0)
    found = run(scan_of(truth, stack, noise=0.0), stack, noise=0.0, iterations=40)
    assert found.thickness[0, :, 0, 0].tolist() == pytest.approx(truth[:, 0, 0].tolist(), rel=0.03)


def test_the_answer_has_no_worse_likelihood_than_the_truth():
    truth = torch.stack([torch.rand(8, 8) * 15, torch.rand(8, 8) * 150])
    observed = scan_of(truth, seed=5)
    found = run(observed, iterations=20)

    def cost(thickness):
        signal = backscatter(thickness.double(), AU_AL, "material")
        return ((observed / signal - 1) ** 2).sum(0) / (2 * 0.02**2) + signal.log().sum(0)

    assert float((cost(found.thickness[0]) - cost(truth)).max()) < 4.1  # what an absent layer must gain to be there


def test_a_layer_at_the_top_of_its_range_stays_there():
    found = run(scan_of(flat(15, 190, height=6, width=6)))
    assert float(found.thickness[0, 1].min()) == 150
