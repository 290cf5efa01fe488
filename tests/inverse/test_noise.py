import pytest
import torch

from microtomo.inverse.noise import estimate_noise
from microtomo.physics.forward import forward_model
from problems import AU_AL, TWELVE, hills, scan_of, stack_of, terraces


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("shape", [terraces, hills])
def test_the_noise_level_comes_from_the_scan(forward, noise, shape):
    signal = scan_of(shape(AU_AL, 40, 40), forward=forward, noise=noise, seed=1)
    assert float(estimate_noise(signal[None], forward_model(forward, AU_AL))) == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize("symbols", [("Au",), ("Au", "Al"), ("Au", "Al", "Ti")])
def test_any_number_of_layers_and_other_energies(symbols):
    stack = stack_of(*symbols, energies_kev=TWELVE)
    signal = scan_of(terraces(stack, 40, 40), stack, noise=0.03)
    assert float(estimate_noise(signal[None], forward_model("material", stack))) == pytest.approx(0.03, rel=0.05)


def test_every_sample_has_its_own():
    truth = terraces(AU_AL, 40, 40)
    signal = torch.stack([scan_of(truth, noise=s) for s in (0.01, 0.04)])
    assert estimate_noise(signal, forward_model("material", AU_AL)).tolist() == pytest.approx([0.01, 0.04], rel=0.05)


def test_a_region_that_the_stack_cannot_explain_does_not_count():
    signal = scan_of(terraces(AU_AL, 40, 40))
    signal[:, :8] *= 1 + 0.5 * torch.rand(31, 8, 40, generator=torch.Generator().manual_seed(0))
    assert float(estimate_noise(signal[None], forward_model("material", AU_AL))) == pytest.approx(0.02, rel=0.1)


def test_without_noise_next_to_nothing_is_found():
    signal = scan_of(hills(AU_AL, 20, 20), noise=0.0)
    assert float(estimate_noise(signal[None], forward_model("material", AU_AL))) < 5e-4


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_few_energies_give_a_finite_level(count):
    stack = stack_of("Au", "Al", energies_kev=tuple(5.0 + 5 * i for i in range(count)))
    level = estimate_noise(scan_of(terraces(stack, 24, 24), stack)[None], forward_model("material", stack))
    assert 0.005 < float(level) < 0.5
