import numpy as np
import pytest
import torch

from microtomo.inverse.misfit import Grid, starting_grid
from microtomo.materials import Layer, Stack, builtin_materials
from microtomo.physics.forward import forward_model
from microtomo.solvers.spatial.levels import (
    find_levels,
    homogeneous_blocks,
    missing_levels,
    refine_levels,
)
from problems import AU_AL, flat, scan_of, stack_of, terraces


def levels_of(thickness):
    return [sorted(set(t.flatten().tolist())) for t in thickness]


def test_the_published_stack_starts_from_1_and_5_nanometres():
    grid = starting_grid(forward_model("material", AU_AL))
    assert grid.shape == (16, 31)
    np.testing.assert_allclose(grid.levels[0], np.arange(16))
    np.testing.assert_allclose(grid.levels[1], np.arange(0, 151, 5))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("max_nm", [3.7, 40.0, 1234.0])
def test_a_starting_grid_spans_every_range_in_steps_of_one_size(count, max_nm):
    m = builtin_materials()
    layers = tuple(Layer(material=m[s], max_nm=max_nm) for s in ("C", "Al", "Si", "Ti")[:count])
    grid = starting_grid(forward_model("material", Stack(name="s", substrate=m["Cu"], layers=layers)))
    assert len(grid) <= 5000
    for levels in grid.levels:
        assert float(levels[0]) == 0
        assert float(levels[-1]) == pytest.approx(max_nm)
        assert len(levels) > 3
        np.testing.assert_allclose(np.diff(levels), float(levels[1]), rtol=1e-9)


def test_a_homogeneous_image_is_one_block():
    observed = scan_of(flat(6.0, 70.0, height=32, width=32))
    blocks = homogeneous_blocks(observed, starting_grid(forward_model("material", AU_AL)), 0.02)
    assert blocks.pixels.tolist() == [1024]
    np.testing.assert_allclose(blocks.moments[0, :, 0], observed.double().sum((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(blocks.moments[1, :, 0], (observed.double() ** 2).sum((1, 2)), rtol=1e-6)


def test_blocks_do_not_reach_across_an_edge():
    thickness = flat(3.0, 50.0, height=32, width=48)
    thickness[0, :, 20:] = 12.0
    grid = starting_grid(forward_model("material", AU_AL))
    blocks = homogeneous_blocks(scan_of(thickness), grid, 0.02)
    found = grid.misfit(blocks.moments, 0.02, blocks.pixels).argmin(1)
    gold = grid.thickness[0, found]
    assert bool(((gold - 3).abs() <= 1).logical_xor((gold - 12).abs() <= 1).all())
    # 20 = 16 + 4 columns on one side: blocks of 16 and 4 reach the edge exactly
    assert float(blocks.pixels[(gold - 3).abs() <= 1].sum()) >= 0.9 * 20 * 32
    assert float(blocks.pixels.sum()) >= 0.9 * 32 * 48


def test_the_floor_is_the_least_misfit_of_every_pixel():
    observed = scan_of(terraces(AU_AL, 7, 70))
    grid = starting_grid(forward_model("material", AU_AL))
    blocks = homogeneous_blocks(observed, grid, 0.02)
    least = grid.misfit(observed.flatten(1), 0.02).amin(1).reshape(7, 70)
    np.testing.assert_allclose(blocks.floor, least, atol=0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3, 3)])
def test_an_image_too_small_for_blocks_keeps_the_whole_grid(size):
    grid = starting_grid(forward_model("material", AU_AL))
    blocks = homogeneous_blocks(scan_of(terraces(AU_AL, *size)), grid, 0.02)
    assert blocks.floor.shape == size
    found, share = find_levels(blocks, grid, 0.02)
    assert len(found) == len(grid)
    assert float(share.sum()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("forward", ["material", "published"])
@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_the_levels_of_a_terraced_scan_are_found(forward, noise):
    truth = terraces(AU_AL, 48, 48) * torch.tensor([0.91, 0.89])[:, None, None]  # off the grid, off its ends
    coarse = starting_grid(forward_model(forward, AU_AL))
    blocks = homogeneous_blocks(scan_of(truth, forward=forward, noise=noise), coarse, noise)
    grid, share = find_levels(blocks, coarse, noise)
    assert float(share.sum()) == pytest.approx(1, rel=1e-4)
    assert len(share) == len(grid) <= 64
    for k, (levels, nm) in enumerate(zip(levels_of(truth), AU_AL.max_nm, strict=True)):
        distance = [float((grid.levels[k] - level).abs().min()) for level in levels]
        # a tenth of the steps of the coarse grid would be luck; within one step all are there
        assert max(distance) < {0.02: 0.04, 0.05: 0.08}[noise] * nm, (k, grid.levels[k], levels)
        assert float(grid.levels[k][0]) == 0


def test_one_layer_and_three_layers_are_searched_too():
    for symbols in (("Au",), ("Au", "Al", "Ti")):
        stack = stack_of(*symbols)
        truth = terraces(stack, 48, 48)
        coarse = starting_grid(forward_model("material", stack))
        grid, _ = find_levels(homogeneous_blocks(scan_of(truth, stack), coarse, 0.02), coarse, 0.02)
        gold = [float((grid.levels[0] - level).abs().min()) for level in levels_of(truth)[0]]
        assert max(gold) < 1.0  # one step of the starting grid, which for three layers is 1.5 nm


def test_refined_levels_are_the_truth_within_their_deviation():
    truth = [[0.0, 4.3, 11.6], [0.0, 66.0, 121.0]]
    start = Grid([torch.tensor([0.0, 5.0, 11.0]), torch.tensor([0.0, 60.0, 125.0])], forward_model("material", AU_AL))
    pixels = 400
    thickness = torch.tensor([[a, b] for a in truth[0] for b in truth[1]]).T[:, :, None].expand(2, 9, pixels)
    observed = scan_of(thickness.contiguous(), seed=7).double()
    moments = torch.stack([observed.sum(2), (observed**2).sum(2)])
    grid, deviation = refine_levels(moments, torch.full((9,), float(pixels), dtype=torch.float64), start, 0.02, 8)
    for k in range(2):
        error = (grid.levels[k] - torch.tensor(truth[k], dtype=torch.float64)).abs()
        assert float(error[0]) == float(deviation[k][0]) == 0
        assert bool((error[1:] < 4 * deviation[k][1:] + 1e-3 * AU_AL.max_nm[k]).all()), (error, deviation[k])
        # 1200 pixels share a level: a thirtieth of a pixel's bound of about 0.3 nm and 4 to 8 nm, or less
        assert bool((deviation[k][1:] < 0.0015 * AU_AL.max_nm[k]).all())


def labelling(truth, grid, noise=0.02):
    observed = scan_of(truth)
    coarse = starting_grid(forward_model("material", AU_AL))
    cost = grid.misfit(observed.flatten(1), noise).float().reshape(*truth.shape[1:], -1)
    floor = homogeneous_blocks(observed, coarse, noise).floor
    nearest = torch.stack([(grid.thickness[:, i, None, None] - truth).abs().sum(0) for i in range(len(grid))], -1)
    belief = torch.nn.functional.one_hot(nearest.argmin(-1), len(grid)).float()
    return observed, floor, cost, belief, coarse


def test_levels_that_explain_the_scan_miss_none():
    truth = terraces(AU_AL, 24, 24)
    grid = Grid([torch.tensor(v) for v in levels_of(truth)], forward_model("material", AU_AL))
    observed, floor, cost, belief, coarse = labelling(truth, grid)
    assert missing_levels(observed, floor, cost, belief, coarse, grid, 0.02) is None


@pytest.mark.parametrize(("layer", "level"), [(0, 5.0), (0, 15.0), (1, 100.0)])
def test_a_level_that_was_left_out_is_missed(layer, level):
    truth = terraces(AU_AL, 32, 32)
    levels = [torch.tensor(v) for v in levels_of(truth)]
    levels[layer] = levels[layer][(levels[layer] - level).abs() > 0.1]
    grid = Grid(levels, forward_model("material", AU_AL))
    observed, floor, cost, belief, coarse = labelling(truth, grid)
    found = missing_levels(observed, floor, cost, belief, coarse, grid, 0.02)
    assert found is not None
    assert float((found.levels[layer] - level).abs().min()) < 0.08 * AU_AL.max_nm[layer]
    for before, after in zip(grid.levels, found.levels, strict=True):
        assert set(before.tolist()) <= set(after.tolist())
        assert after.tolist() == sorted(after.tolist())
        assert len(after) <= len(before) + 2


@pytest.mark.parametrize("size", [(1, 20), (2, 2)])
def test_an_image_below_3_pixels_misses_no_level(size):
    truth = terraces(AU_AL, *size)
    grid = Grid([torch.tensor([0.0, 1.0]), torch.tensor([0.0, 10.0])], forward_model("material", AU_AL))
    observed, floor, cost, belief, coarse = labelling(truth, grid)
    assert missing_levels(observed, floor, cost, belief, coarse, grid, 0.02) is None
