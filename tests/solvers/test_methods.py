"""What every registered solver promises; a new method is tested the day it is registered."""

import numpy as np
import pytest
import torch

from microtomo.inverse.problem import Estimate
from microtomo.physics.forward import backscatter
from microtomo.registry import get_method, list_methods
from problems import TWELVE, problem_of, scan_of, stack_of, terraces

METHODS = [m.name for m in list_methods(task="layers") if not m.learned]
STACKS = {
    "one layer": stack_of("Au"),
    "one light layer": stack_of("Al"),
    "two layers": stack_of("Au", "Al"),
    "two layers, other order": stack_of("Al", "Cu"),
    "three layers": stack_of("Au", "Al", "Ti"),
    "twelve energies": stack_of("Au", "Al", energies_kev=TWELVE),
}


def run(method, signal, stack, forward="material", noise=0.02):
    batch = signal if signal.ndim == 4 else signal[None]
    with torch.inference_mode():
        return get_method(method).run(batch, problem_of(stack, forward, noise, len(batch)))


def checked(estimate: Estimate, stack, samples, height, width, depth):
    layers = len(stack.layers)
    top = torch.tensor(stack.max_nm)[:, None, None]
    assert estimate.thickness.shape == estimate.uncertainty.shape == (samples, layers, height, width)
    assert estimate.volume.shape == (samples, depth, height, width)
    assert estimate.converged.shape == (samples, height, width)
    assert (estimate.volume.dtype, estimate.converged.dtype) == (torch.uint8, torch.bool)
    assert bool(torch.isfinite(estimate.thickness).all())
    assert bool((estimate.thickness >= 0).all())
    assert bool((estimate.thickness <= top).all())
    assert bool(torch.isfinite(estimate.uncertainty).all())
    assert bool((estimate.uncertainty >= 0).all())
    assert bool((estimate.uncertainty <= top).all())
    assert int(estimate.volume.max()) <= layers
    # layers lie in order and without holes: from the bottom up the labels grow, then nothing
    labels = torch.where(estimate.volume == 0, 255, estimate.volume).int()
    assert bool((labels.diff(dim=1) >= 0).all())
    return estimate


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("size", "forward"),
    [((1, 1), "material"), ((1, 5), "published"), ((5, 1), "material"), ((7, 13), "material"), ((33, 20), "published")],
)
def test_images_of_any_size(method, size, forward):
    stack = STACKS["two layers"]
    signal = scan_of(terraces(stack, *size), stack, forward)
    checked(run(method, signal, stack, forward), stack, 1, *size, 16)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("forward", ["material", "published"])
def test_stacks_of_one_to_three_layers(method, name, forward):
    stack = STACKS[name]
    truth = terraces(stack, 12, 16)
    found = run(method, scan_of(truth, stack, forward), stack, forward)
    depth = sum(int(nm // 10) for nm in stack.max_nm)
    checked(found, stack, 1, 12, 16, depth)
    # whatever it found explains the scan as well as the truth does
    observed = scan_of(truth, stack, forward)
    chi_square = ((observed / backscatter(found.thickness[0], stack, forward) - 1) ** 2).mean(0) / 0.02**2
    assert 0.7 < float(chi_square.mean()) < 1.15


@pytest.mark.parametrize("method", METHODS)
def test_the_same_scan_gives_the_same_bytes(method):
    stack = STACKS["two layers"]
    signal = scan_of(terraces(stack, 16, 16), stack)
    one, other = run(method, signal, stack), run(method, signal.clone(), stack)
    for field in ("thickness", "uncertainty", "volume", "converged"):
        assert getattr(one, field).numpy().tobytes() == getattr(other, field).numpy().tobytes(), field


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_does_not_depend_on_the_batch_it_is_in(method):
    stack = STACKS["two layers"]
    truth = terraces(stack, 16, 12)
    truth = torch.stack([truth, truth.flip(-1), truth * 0.5])
    signal = scan_of(truth, stack)
    together = checked(run(method, signal, stack), stack, 3, 16, 12, 16)
    for i in (0, 2):
        alone = run(method, signal[i], stack)
        for field in ("thickness", "uncertainty", "volume"):
            np.testing.assert_array_equal(getattr(alone, field)[0], getattr(together, field)[i], err_msg=field)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forward", ["material", "published"])
def test_bare_substrate_is_empty(method, forward):
    stack = STACKS["two layers"]
    signal = scan_of(torch.zeros(2, 16, 16), stack, forward)
    found = run(method, signal, stack, forward)
    assert float(found.thickness[0, 0].mean()) < 0.25  # a pixel alone cannot do better than 0.1 nm
    gold = (found.volume == 1).float().mean()
    assert float(gold) == 0
    # the shared error bar has to admit the bare substrate
    far = found.thickness[0] > 4 * found.uncertainty[0] + 1e-3
    assert float(far.float().mean()) < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_the_input_is_left_as_it_was(method):
    stack = STACKS["two layers"]
    signal = scan_of(terraces(stack, 8, 8), stack)
    before = signal.clone()
    run(method, signal, stack)
    assert torch.equal(signal, before)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_extreme_noise_levels_give_finite_answers(method, noise):
    stack = STACKS["two layers"]
    signal = scan_of(terraces(stack, 8, 12), stack, noise=min(noise, 0.1))
    checked(run(method, signal, stack, noise=noise), stack, 1, 8, 12, 16)


@pytest.mark.parametrize("method", METHODS)
def test_a_spectrum_that_no_stack_gives_has_a_finite_answer(method):
    stack = STACKS["two layers"]
    signal = scan_of(terraces(stack, 8, 8), stack)
    signal[:, 2, 3], signal[:, 5, 5] = 0.0, 50.0
    checked(run(method, signal, stack), stack, 1, 8, 8, 16)
