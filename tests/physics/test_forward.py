"""Every forward model of the registry keeps what solvers rely on; a new one is covered the day it is added."""

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.physics.forward import (
    ForwardModel,
    forward_class,
    forward_model,
    forward_names,
    list_forward_models,
    register_forward,
)
from microtomo.physics.transport import backscatter_coefficient
from microtomo.simulate.scans import simulate_scan

M = builtin_materials()
GOLD = Stack(name="gold", substrate=M["Si"], layers=(Layer(material=M["Au"], max_nm=15),), energies_kev=(5, 7, 9))
AU_AL = load_stack("au-al-si").model_copy(update={"energies_kev": (5.0, 8.0)})
every = pytest.mark.parametrize("name", forward_names())


def maps(layers, height=6, width=7, dtype=torch.float64):
    draw = torch.Generator().manual_seed(3)
    top = torch.tensor([15.0, 150.0][:layers], dtype=dtype)[:, None, None]
    return torch.rand(layers, height, width, generator=draw, dtype=dtype) * top


@every
def test_bare_substrate_is_one_and_bulk_is_reached(name):
    model = forward_model(name, GOLD)
    assert model(torch.zeros(1, 2, 3)).sub(1).abs().max() < 1e-6
    thick = GOLD.model_copy(update={"layers": (Layer(material=M["Au"], max_nm=400),)})
    signal = forward_model(name, thick)(torch.full((1, 1, 1), 400.0, dtype=torch.float64))[:, 0, 0]
    torch.testing.assert_close(signal, forward_model(name, thick).bulk_signal()[0], rtol=5e-3, atol=0)
    assert forward_model(name, thick).transmitted(0) < 1e-3


@every
@pytest.mark.parametrize("stack", [GOLD, AU_AL], ids=lambda stack: stack.name)
def test_shapes_batches_and_dtypes(name, stack):
    model, layers = forward_model(name, stack), len(stack.layers)
    thickness = maps(layers)
    signal = model(thickness)
    assert signal.shape == (len(stack.energies_kev), 6, 7)
    assert signal.dtype == torch.float64
    assert model(thickness.float()).dtype == torch.float32
    batch = torch.stack([thickness, thickness / 2, thickness / 3])
    torch.testing.assert_close(model(batch)[1], model(thickness / 2))
    torch.testing.assert_close(model.response(thickness.flatten(1)), signal.flatten(1))
    with pytest.raises(MicrotomoError, match="wants"):
        model(torch.zeros(layers + 1, 2, 2))


@every
def test_the_compiled_form_agrees_and_knows_no_neighbours(name):
    model = forward_model(name, AU_AL)
    thickness = maps(2, 20, 31).float()
    whole = model.fast(thickness.numpy())
    assert np.abs(whole - model(thickness.double()).numpy()).max() < 3e-6
    assert np.array_equal(model.fast(thickness[:, 3:9, 5:11].contiguous().numpy()), whole[:, 3:9, 5:11])


@every
def test_the_derivative_is_that_of_finite_differences(name):
    model = forward_model(name, AU_AL)
    at = torch.tensor([[4.0, 9.5], [33.0, 88.0]], dtype=torch.float64, requires_grad=True)
    signal = model(at[:, None])[:, 0]
    (slope,) = torch.autograd.grad(signal.sum(), at)
    step = 1e-4
    for k in range(2):
        there = at.detach().clone()
        there[k] += step
        back = at.detach().clone()
        back[k] -= step
        with torch.no_grad():
            found = (model(there[:, None]) - model(back[:, None]))[:, 0].sum(0) / (2 * step)
        torch.testing.assert_close(slope[k], found, rtol=1e-4, atol=1e-8)


@every
def test_other_energies_are_the_same_physics(name):
    model = forward_model(name, GOLD)
    thickness = maps(1)
    torch.testing.assert_close(model.with_energies([7.0])(thickness), model(thickness)[1:2], rtol=2e-4, atol=0)
    with pytest.raises(MicrotomoError, match="increase strictly"):
        model.with_energies([7.0, 5.0])


@every
@pytest.mark.cuda
def test_a_gpu_gives_what_the_cpu_gives(name):
    model, thickness = forward_model(name, AU_AL), maps(2, 32, 32).float()
    torch.testing.assert_close(model(thickness.cuda()).cpu(), model(thickness), rtol=1e-4, atol=1e-5)


def test_every_model_says_what_it_is_and_whom_to_cite():
    for model in list_forward_models():
        assert len(model.summary) > 10
        assert len(model.citation) > 10
        assert model.local


def test_only_the_published_signal_jumps_where_a_layer_vanishes():
    for name in forward_names():
        model = forward_model(name, AU_AL)
        bare, trace = torch.zeros(2, 1, 1).double(), torch.tensor([1e-9, 0.0]).double()[:, None, None]
        under = torch.tensor([0.0, 100.0]).double()[:, None, None]
        jump = float((model(under + trace) - model(under + bare)).abs().max())
        assert (jump > 0.05) == model.jumps_at_zero


def test_unknown_names_and_names_taken_are_refused():
    with pytest.raises(MicrotomoError, match=r"unknown forward model 'publish'; did you mean published"):
        forward_class("publish")
    with pytest.raises(MicrotomoError, match="'material' is registered twice"):
        register_forward("material", citation="nobody")(type("Other", (ForwardModel,), {"__doc__": "Another."}))


def test_a_film_beyond_the_range_of_the_stack_is_simulated_and_not_cut_off():
    """The range says what to look for, not what a sample may be: bulk is the limit of any forward model."""
    stack = load_stack("au-al-si").model_copy(update={"energies_kev": (5.0, 20.0)})
    thick = simulate_scan(stack, np.array([[[80.0]], [[0.0]]]), forward="transport", noise=0.0)
    film = [backscatter_coefficient([("Au", 80.0), ("Si", None)], stack.energies_kev)[k] for k in (0, 1)]
    bare = backscatter_coefficient([("Si", None)], stack.energies_kev)
    assert thick.data[:, 0, 0] == pytest.approx(np.array(film) / bare, rel=0.002)
    assert thick.stack == stack
