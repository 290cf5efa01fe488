"""What every network promises; a new architecture is tested the day it is registered."""

from functools import cache

import pytest
import torch

from microtomo.inverse.problem import Problem
from microtomo.materials import load_stack, make_stack
from microtomo.models.architectures import architectures, build_network
from microtomo.models.scans.network import NetworkConfig
from microtomo.physics.forward import backscatter, forward_model
from microtomo.registry import list_methods

STACK = load_stack("au-al-si")
NAMES = sorted(a.name for a in architectures().values() if a.config is NetworkConfig)
KINDS = [("signal", "published"), ("components", "posterior")]


def config_of(name, input_kind="components", head="posterior", **settings):
    small = {"width": 8, "dropout": 0.0, "input": input_kind, "head": head}
    return NetworkConfig(architecture=name, **{**small, **settings})


def network_of(name, *kinds, **settings):
    torch.manual_seed(0)
    return build_network(config_of(name, *kinds, **settings)).eval()


@cache
def pads(height=24, width=24):
    """Two overlapping pads and their noise-free signal."""
    thickness = torch.zeros(1, 2, height, width)
    thickness[:, 0, 4:16, 4:16] = 12.0
    thickness[:, 1, 10:20, 8:22] = 75.0
    return thickness, backscatter(thickness, STACK, "published")


def estimate(network, signal, noise=0.02):
    config = network.config
    level = torch.full((len(signal),), noise)
    problem = Problem(config.forward_model, level, config.depth, config.voxel_nm)
    with torch.inference_mode():
        return network.estimate(signal, problem)


def test_all_published_networks_are_registered_with_their_scores():
    learned = {m.name: m.published_score("test set") for m in list_methods(task="layers") if m.learned}
    assert learned == {"conv3": 0.633, "unet": 0.953, "stacked-unet": 0.909, "unet3d": 0.620, "uvnet": 0.938}
    assert set(learned) == set(NAMES)


@pytest.mark.parametrize(
    ("name", "fewest", "most"),
    # report: 3Conv under 100 k, UVNet 3.5 M; a U-Net of 64..1024 channels some 31 M, more with 3 x 3 up-convolutions
    [("conv3", 50e3, 100e3), ("uvnet", 3.3e6, 3.7e6), ("unet", 28e6, 50e6), ("unet3d", 28e6, 50e6)],
)
def test_published_size(name, fewest, most):
    with torch.device("meta"):
        assert fewest < build_network(NetworkConfig(architecture=name)).parameters_count < most


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", KINDS, ids=["published", "posterior"])
@pytest.mark.parametrize("size", [(16, 16), (1, 1), (7, 21)])
def test_shapes_ranges_and_order_of_layers(name, kinds, size):
    network = network_of(name, *kinds)
    signal = 1 + 0.4 * torch.rand(2, 31, *size, generator=torch.Generator().manual_seed(1))
    found = estimate(network, signal)
    top = torch.tensor(STACK.max_nm)[:, None, None]
    assert found.thickness.shape == found.uncertainty.shape == (2, 2, *size)
    assert found.volume.shape == (2, 16, *size)
    assert found.volume.dtype == torch.uint8
    assert bool(((found.thickness >= 0) & (found.thickness <= top)).all())
    assert bool(((found.uncertainty > 0) & (found.uncertainty <= top)).all())
    labels = torch.where(found.volume == 0, 255, found.volume).int()
    assert bool((labels.diff(dim=1) >= 0).all())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("symbols", "energies", "depth"), [(("Au",), 5, 2), (("Au", "Al", "Ti"), 12, 40)], ids=["one layer", "three layers"]
)
def test_any_layers_energies_and_depth(name, symbols, energies, depth):
    known = {"Au": ("Au", 79, 19.3, 0.9), "Al": ("Al", 13, 2.7, 0.6), "Ti": ("Ti", 22, 4.5, 0.7)}
    layers = [
        {
            "material": dict(zip(("symbol", "atomic_number", "density_g_cm3", "base_signal"), known[s], strict=True)),
            "max_nm": 15.0 if s == "Au" else 120.0,
        }
        for s in symbols
    ]
    base = load_stack("au-al-si").model_dump()
    spread = [5.0 + 2 * i for i in range(energies)]
    stack = make_stack({"name": "own", "substrate": base["substrate"], "layers": layers, "energies_kev": spread})
    network = network_of(name, stack=stack, depth=depth)
    found = estimate(network, torch.ones(1, energies, 9, 9))
    assert found.thickness.shape == (1, len(symbols), 9, 9)
    assert found.volume.shape == (1, depth, 9, 9)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_its_batch(name):
    network = network_of(name)
    signal = 1 + 0.3 * torch.rand(3, 31, 16, 16, generator=torch.Generator().manual_seed(2))
    together, alone = estimate(network, signal), estimate(network, signal[1:2])
    torch.testing.assert_close(together.thickness[1:2], alone.thickness, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", KINDS, ids=["published", "posterior"])
def test_one_batch_is_learnt_by_heart(name, kinds):
    """After a few dozen steps on one noise-free scan the loss has fallen and the voxels come out right."""
    thickness, signal = pads()
    torch.manual_seed(3)
    network = build_network(config_of(name, *kinds, width=16, levels=2)).train()
    noise = torch.tensor([0.02])
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    first = None
    for _ in range(60):
        loss = network.loss(signal, noise, thickness)
        first = float(loss.detach()) if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.2 * first
    if kinds[1] == "posterior":
        with torch.inference_mode():
            found = network.estimate(signal, Problem(forward_model("published", STACK), noise))
        truth = torch.zeros(16, 24, 24, dtype=torch.uint8)
        truth[0, 4:16, 4:16] = 1
        truth[0:7, 10:20, 8:22] = 2
        truth[0, 10:16, 8:16] = 1
        truth[7, 10:16, 8:16] = 2
        assert float((found.volume[0] == truth).float().mean()) > 0.98


def test_large_images_are_done_in_tiles_without_seams(monkeypatch):
    """Tiles of a network that sees 9 pixels give the same as the whole."""
    network = network_of("conv3")
    signal = 1 + 0.3 * torch.rand(1, 31, 70, 95, generator=torch.Generator().manual_seed(4))
    whole = estimate(network, signal)
    for name, value in (("_MOST_PIXELS", 1000), ("_TILE", 40), ("_MARGIN", 8)):
        monkeypatch.setattr(f"microtomo.inverse.tiling.{name}", value)
    tiled = estimate(network, signal)
    torch.testing.assert_close(tiled.thickness, whole.thickness, rtol=1e-5, atol=1e-4)
    assert torch.equal(tiled.volume, whole.volume)
