import importlib

import numpy as np
import pytest
import torch

from microtomo.metrics import voxel_scores
from microtomo.registry import get_method
from microtomo.simulate.structures import make_structure
from microtomo.voxels import thickness_to_volume
from problems import AU_AL, flat, hills, problem_of, scan_of, stack_of, terraces

CLASSES = ["none", "Au", "Al"]


def run(method, signal, stack=AU_AL, forward="material", noise=0.02):
    with torch.inference_mode():
        return get_method(method).run(signal[None], problem_of(stack, forward, noise))


def miou(found, truth, classes=CLASSES, depth=16):
    return voxel_scores(found.volume[0], thickness_to_volume(truth, depth), classes).miou


def rmse(found, truth):
    return ((found.thickness[0] - truth) ** 2).mean((1, 2)).sqrt()


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_terraces_come_back_voxel_by_voxel(forward, noise):
    truth = terraces(AU_AL, 32, 32)
    found = run("map", scan_of(truth, forward=forward, noise=noise), forward=forward, noise=noise)
    assert miou(found, truth) > {0.02: 0.99, 0.05: 0.97}[noise]
    # aluminium without gold is nearly the substrate's signal: no claim there
    gold = truth[0] > 0
    error = (found.thickness[0] - truth).abs()[:, gold].mean(1)
    assert bool((error < {0.02: 0.01, 0.05: 0.03}[noise] * torch.tensor(AU_AL.max_nm)).all())


@pytest.mark.parametrize("forward", ["material", "published"])
def test_the_experimental_structure_comes_back(forward):
    truth = make_structure(AU_AL, "experimental", (0, 0), 48, 48)
    found = run("map", scan_of(truth, forward=forward, seed=2), forward=forward)
    assert miou(found, truth) > 0.98


def test_published_terraces_come_back_better_than_pixel_by_pixel():
    truth = make_structure(AU_AL, "perlin", (5, 6), 48, 48)
    signal = scan_of(truth, forward="published", seed=1)
    assert miou(run("map", signal, forward="published"), truth) > 0.95
    assert miou(run("likelihood", signal, forward="published"), truth) < 0.93


@pytest.mark.parametrize("forward", ["material", "published"])
def test_continuous_thickness_has_half_the_error_of_pixel_by_pixel(forward):
    truth = hills(AU_AL, 32, 32)
    signal = scan_of(truth, forward=forward, seed=1)
    spatial, alone = (rmse(run(method, signal, forward=forward), truth) for method in ("map", "likelihood"))
    assert float(spatial[0]) < 0.7 * float(alone[0])
    assert float(spatial[1]) < 0.5 * float(alone[1])


def test_continuous_thickness_shows_no_steps():
    truth = hills(AU_AL, 32, 32)
    found = run("map", scan_of(truth, seed=1))
    assert len(found.thickness[0, 0].unique()) > 500
    step = found.thickness[0].diff(dim=2).abs().amax((1, 2))
    largest = truth.diff(dim=2).abs().amax((1, 2))
    assert bool((step < 3 * largest).all())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_a_voxel_is_not_lost_below_a_boundary(seed):
    # 50 nm of aluminium: whether the estimate is 49.9 or 50.1, five voxels it is
    truth = flat(10.0, 50.0, height=24, width=24)
    truth[:, :, :8] = 0
    found = run("map", scan_of(truth, seed=seed))
    pad = truth[0] > 0
    assert float((found.thickness[0, 1] - 50)[pad].abs().max()) < 1.5
    np.testing.assert_array_equal(found.volume[0][:, pad], thickness_to_volume(truth, 16)[:, pad])


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
def test_the_prior_follows_the_noise_by_itself(noise):
    truth = make_structure(AU_AL, "experimental", (0, 0), 48, 48)
    signal = scan_of(truth, forward="published", noise=noise, seed=4)
    found = run("map", signal, forward="published", noise=noise)
    assert miou(found, truth) > {0.01: 0.99, 0.05: 0.97, 0.1: 0.9}[noise]


@pytest.mark.parametrize("symbols", [("Au",), ("Al",)])
def test_one_layer(symbols):
    stack = stack_of(*symbols)
    truth = terraces(stack, 32, 32)
    signal = scan_of(truth, stack, seed=3)
    spatial, alone = rmse(run("map", signal, stack), truth), rmse(run("likelihood", signal, stack), truth)
    assert float(spatial) < 0.5 * float(alone)


def test_three_layers():
    stack = stack_of("Au", "Al", "Ti")
    truth = terraces(stack, 32, 32)
    signal = scan_of(truth, stack, seed=3)
    spatial, alone = rmse(run("map", signal, stack), truth), rmse(run("likelihood", signal, stack), truth)
    assert bool((spatial < 0.9 * alone).all()), (spatial, alone)


def test_a_single_bright_pixel_is_noise_and_a_pad_of_four_by_four_is_not():
    truth = flat(5.0, 50.0, height=24, width=24)
    truth[0, 4:8, 4:8] = 10.0
    signal = scan_of(truth, forward="published", seed=1)
    signal[:, 16, 16] *= 1.01
    found = run("map", signal, forward="published").thickness[0, 0]
    assert float((found[4:8, 4:8] - 10).abs().max()) < 0.5
    assert float((found[16, 16] - 5).abs()) < 0.5


def test_the_error_bar_is_large_where_labels_compete():
    # aluminium over no gold is nearly the substrate's signal: one cannot tell how much there is
    truth = flat(8.0, 75.0, height=24, width=24)
    truth[0, :, :12] = 0
    found = run("map", scan_of(truth, noise=0.1), noise=0.1)
    error = (found.thickness[0] - truth).abs()
    allowed = 3 * found.uncertainty[0] + 0.02 * torch.tensor(AU_AL.max_nm)[:, None, None]
    assert float((error <= allowed).float().mean()) > 0.9


@pytest.mark.parametrize("kind", ["hills", "terraces"])
def test_large_images_in_tiles_are_as_good_as_in_one_piece(monkeypatch, kind):
    module = importlib.import_module("microtomo.solvers.map")
    truth = {"hills": hills, "terraces": terraces}[kind](AU_AL, 72, 72)
    signal = scan_of(truth, forward="published", seed=1)
    whole = run("map", signal, forward="published")
    for name, value in (("_FIELD_PIXELS", 1000), ("_MOST_PIXELS", 1000), ("_SAMPLE", 32)):
        monkeypatch.setattr(module, name, value)
    for name, value in (("_FIELD_TILE", 48), ("_FIELD_OVERLAP", 12), ("_TILE", 48), ("_OVERLAP", 12)):
        monkeypatch.setattr(module, name, value)
    tiled = run("map", signal, forward="published")
    assert not torch.equal(tiled.thickness, whole.thickness)
    limit = {"hills": [0.15, 3.0], "terraces": [0.1, 1.0]}[kind]
    for found in (whole, tiled):
        assert bool((rmse(found, truth) < torch.tensor(limit)).all()), rmse(found, truth)
    if kind == "hills":  # no seams: nowhere a step far above the steepest slope of the truth
        steepest = truth.diff(dim=2).abs().amax((1, 2))
        assert bool((tiled.thickness[0].diff(dim=2).abs().amax((1, 2)) < 2 * steepest).all())
