import numpy as np
import pytest
import torch
from problems import AU_AL, hills, problem_of, scan_of, terraces

from microtomo.solvers.smooth import _Differences, _System, fit_field, whiteness


def presence(height=6, width=7):
    present = torch.ones(2, height, width, dtype=torch.bool)
    present[0, :2, :3] = False
    present[1, 3, 4] = False
    return present


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(present, reweighted):
    weights = [_Differences(p) for p in present]
    if reweighted:
        for k, w in enumerate(weights):
            w.reweight(random(*present.shape[1:], seed=k).float(), 2.0)
    return weights


@pytest.mark.parametrize("reweighted", [False, True])
def test_the_adjoint_of_the_differences_is_their_adjoint(reweighted):
    for size in ((6, 7), (1, 5), (5, 1), (1, 1), (2, 2)):
        present = torch.ones(1, *size, dtype=torch.bool) if min(size) < 3 else presence(*size)
        for difference in weights_of(present, reweighted):
            d = random(*size).float()
            image = difference.apply(d)
            others = [random(*v.shape, seed=9).float() for v in image]
            left = sum(float((a * b).sum()) for a, b in zip(image, others, strict=True))
            right = float((d * difference.adjoint(others)).sum())
            assert left == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_planes_have_no_second_differences():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    difference = _Differences(torch.ones(6, 7, dtype=torch.bool))
    assert difference.energy(3 + 2 * x - 5 * y) == pytest.approx(0, abs=1e-9)
    # d = x y: mixed difference 1 at 5 x 6 places, counted twice, as in the thin-plate energy
    assert difference.energy(x * y) == pytest.approx(2 * 5 * 6)
    assert difference.energy(x**2) == pytest.approx(4 * 6 * 5)
    assert difference.count == 6 * 5 + 4 * 7 + 5 * 6


def test_differences_that_touch_an_absent_pixel_do_not_count():
    present = torch.ones(6, 7, dtype=torch.bool)
    present[2, 3] = False
    field = torch.zeros(6, 7)
    field[2, 3] = 100.0
    assert _Differences(present).energy(field) == 0


def test_edges_are_forgiven_after_reweighting():
    step, bend = torch.zeros(6, 12), torch.zeros(6, 12)
    step[:, 6:] = 10.0
    bend[:, 6:] = 0.1
    difference = _Differences(torch.ones(6, 12, dtype=torch.bool))
    ratio = difference.energy(step) / difference.energy(bend)
    difference.reweight(step, 10.0)
    assert difference.energy(step) / difference.energy(bend) == pytest.approx(ratio, rel=1e-4)  # linear in the field
    plain = _Differences(torch.ones(6, 12, dtype=torch.bool))
    assert difference.energy(step) < 0.01 * plain.energy(step)


@pytest.mark.parametrize("reweighted", [False, True])
def test_solve_equals_a_dense_solve(reweighted):
    present = presence()
    size = present.numel()
    root = random(2, 2, 6, 7)
    fisher = torch.einsum("jiyx,kiyx->jkyx", root, root).float() + 0.3 * torch.eye(2)[..., None, None]
    weights, scale = weights_of(present, reweighted), [0.7, 0.05]
    system = _System(fisher, weights, scale, present)
    dense = np.zeros((size, size))
    for k in range(2):
        for j in range(2):
            block = np.diag(fisher[j, k].flatten().double())
            dense[j * 42 : j * 42 + 42, k * 42 : k * 42 + 42] += block
        units = torch.eye(42).reshape(42, 6, 7)
        images = [torch.cat([v.flatten() for v in weights[k].apply(unit)]) for unit in units]
        operator = torch.stack(images, 1).double().numpy()
        dense[k * 42 : k * 42 + 42, k * 42 : k * 42 + 42] += scale[k] * operator.T @ operator
    there = present.flatten().numpy()
    right = random(2, 6, 7, seed=5).float()
    expected = np.zeros(size)
    expected[there] = np.linalg.solve(dense[np.ix_(there, there)], right.flatten().double().numpy()[there])
    for start in (None, random(2, 6, 7, seed=6).float()):
        found = system.solve(right, start, steps=500, tolerance=1e-6)
        np.testing.assert_allclose(found.flatten(), expected, atol=1e-4 * np.abs(expected).max())


def labelled(thickness):
    """Labels and thickness of the coarse levels nearest to a structure: 1 nm and 10 nm apart."""
    step = torch.tensor([1.0, 10.0])[:, None, None]
    index = (thickness / step).round()
    return index * step, (index[0] * 100 + index[1]).long()


@pytest.mark.parametrize("contrast", ["material", "published"])
def test_neighbours_pull_together_where_thickness_is_between_the_levels(contrast):
    smooth = hills(AU_AL, 40, 40)
    levels, label = labelled(smooth)
    observed = scan_of(smooth, contrast=contrast)
    assert whiteness(observed, levels, label, problem_of(contrast=contrast), 0.02) > 0.25
    steps = terraces(AU_AL, 40, 40)
    _, label = labelled(steps)
    observed = scan_of(steps, contrast=contrast)
    assert whiteness(observed, steps, label, problem_of(contrast=contrast), 0.02) < 0.04


@pytest.mark.parametrize("contrast", ["material", "published"])
def test_a_smooth_structure_is_fitted_far_better_than_pixel_by_pixel(contrast):
    truth = hills(AU_AL, 32, 32)
    observed = scan_of(truth, contrast=contrast, seed=1)
    start = truth + torch.tensor([0.4, 6.0])[:, None, None] * random(2, 32, 32).float()
    field = fit_field(observed, start.clamp_min(0.1), problem_of(contrast=contrast), 0.02)
    rmse = ((field.thickness - truth) ** 2).mean((1, 2)).sqrt()
    # pixel by pixel the bound is about 0.25 nm of gold and 4 to 8 nm of aluminium
    assert float(rmse[0]) < 0.15
    assert float(rmse[1]) < 2.5
    assert 4 < field.parameters < 400


def test_a_layer_that_is_absent_stays_absent_but_at_its_rim():
    truth = hills(AU_AL, 24, 24)
    truth[0, :, :12] = 0
    field = fit_field(scan_of(truth), truth, problem_of(), 0.02)
    assert float(field.thickness[0, :, :9].max()) == 0
    assert float(field.deviation[0, :, :9].max()) == 0
