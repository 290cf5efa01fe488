import pytest
import torch

from microtomo.inverse.misfit import starting_grid
from microtomo.physics.forward import forward_model
from microtomo.solvers.spatial.patterns import chances, fit_patterns
from microtomo.solvers.spatial.smooth import fit_field, whiteness
from problems import AU_AL, flat, hills, problem_of, scan_of, terraces


def fitted(truth, forward="material", seed=1):
    observed, problem = scan_of(truth, forward=forward, seed=seed), problem_of(forward=forward)
    with torch.inference_mode():
        patterns = fit_patterns(observed, starting_grid(forward_model(forward, AU_AL)), problem, 0.02)
        return patterns, fit_field(observed, patterns, problem, 0.02)


def labelled(thickness):
    """Labels and thickness of the coarse levels nearest to a structure: 1 nm and 10 nm apart."""
    step = torch.tensor([1.0, 10.0])[:, None, None]
    index = (thickness / step).round()
    return index * step, (index[0] * 100 + index[1]).long()


@pytest.mark.parametrize("forward", ["material", "published"])
def test_neighbours_pull_together_where_thickness_is_between_the_levels(forward):
    smooth = hills(AU_AL, 40, 40)
    levels, label = labelled(smooth)
    observed = scan_of(smooth, forward=forward)
    assert whiteness(observed, levels, label, problem_of(forward=forward), 0.02) > 0.25
    steps = terraces(AU_AL, 40, 40)
    _, label = labelled(steps)
    observed = scan_of(steps, forward=forward)
    assert whiteness(observed, steps, label, problem_of(forward=forward), 0.02) < 0.04


@pytest.mark.parametrize("forward", ["material", "published"])
def test_a_smooth_structure_is_fitted_far_better_than_pixel_by_pixel(forward):
    truth = hills(AU_AL, 32, 32)
    _, field = fitted(truth, forward)
    rmse = ((field.thickness - truth) ** 2).mean((1, 2)).sqrt()
    # pixel by pixel the bound is about 0.25 nm of gold and 4 to 8 nm of aluminium
    assert float(rmse[0]) < 0.1
    assert float(rmse[1]) < 2
    assert 4 < field.parameters < 200


@pytest.mark.parametrize("forward", ["material", "published"])
def test_error_bars_hold_the_truth_as_often_as_they_say(forward):
    inside = torch.zeros(2)
    for seed in range(4):
        truth = hills(AU_AL, 40, 40 + 4 * seed)
        _, field = fitted(truth, forward, seed)
        inside += ((field.thickness - truth).abs() <= 1.96 * field.deviation).float().mean((1, 2)) / 4
    assert float(inside.min()) > 0.85  # bars of half the length would hold 67 % of normal errors


def test_a_layer_that_is_absent_stays_absent_but_at_its_rim():
    truth = hills(AU_AL, 40, 40)
    truth[0, :, :20] = 0
    patterns, field = fitted(truth)
    assert float(field.thickness[0, :, :17].max()) == 0
    assert float((field.thickness[0, :, 23:] - truth[0, :, 23:]).abs().max()) < 1
    chance = chances(patterns)[0]
    assert float(chance[:, :16].max()) < 0.5
    assert float(chance[:, 24:].min()) > 0.5


@pytest.mark.parametrize("forward", ["material", "published"])
def test_every_combination_of_layers_is_fitted_to_its_surroundings(forward):
    truth = flat(6.0, 60.0, height=12, width=12)
    patterns, _ = fitted(truth, forward)
    assert patterns.layers.tolist() == [[False, False], [False, True], [True, False], [True, True]]
    absent = ~patterns.layers
    assert float(patterns.thickness[absent].abs().max()) == 0
    both = patterns.thickness[3]
    # 49 pixels together: a seventh of the bound of one pixel, 0.2 nm and 6 nm
    assert float((both - truth).abs().mean((1, 2))[0]) < 0.06
    assert float((both - truth).abs().mean((1, 2))[1]) < 2
    assert bool((patterns.cost.mean((0, 1))[3] + 5 < patterns.cost.mean((0, 1))[:3]).all())
