from itertools import product

import numpy as np
import pytest
import torch

from microtomo.solvers.spatial.belief_propagation import (
    _beliefs_by_matrix,
    beliefs,
    beliefs_and_change,
    energy,
    joint_cost,
    level_cost,
    without,
)


def costs(height, width, labels, seed=0, scale=4.0):
    return torch.rand(height, width, labels, generator=torch.Generator().manual_seed(seed)) * scale


def plain_energy(cost, step, label):
    height, width = label.shape
    total = sum(float(cost[y, x, label[y, x]]) for y in range(height) for x in range(width))
    total += sum(float(step[label[y, x], label[y + 1, x]]) for y in range(height - 1) for x in range(width))
    return total + sum(float(step[label[y, x], label[y, x + 1]]) for y in range(height) for x in range(width - 1))


def exact_marginals(cost, step):
    """Marginals of a small image by adding up all its labellings."""
    height, width, labels = cost.shape
    marginal = np.zeros((height * width, labels))
    for choice in product(range(labels), repeat=height * width):
        weight = np.exp(-plain_energy(cost, step, np.array(choice).reshape(height, width)))
        marginal[np.arange(height * width), choice] += weight
    return (marginal / marginal.sum(1, keepdims=True)).reshape(height, width, labels)


def forward_backward(cost, step):
    """Marginals (x, L) of a chain by the recursions of a hidden Markov model, in double precision."""
    data, kernel = np.exp(-cost.double().numpy()), np.exp(-step.astype(float))
    ahead, back = [data[0]], [np.ones(data.shape[1])]
    for x in range(1, len(data)):
        ahead.append(ahead[-1] / ahead[-1].sum() @ kernel * data[x])
    for x in range(len(data) - 1, 0, -1):
        message = kernel @ (data[x] * back[0])
        back.insert(0, message / message.sum())
    both = np.array(ahead) * np.array(back)
    return both / both.sum(1, keepdims=True)


def test_a_step_costs_by_the_level_and_at_most_so_much():
    np.testing.assert_array_equal(level_cost(4, 2.0, 5.0), [[0, 2, 4, 5], [2, 0, 2, 4], [4, 2, 0, 2], [5, 4, 2, 0]])


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 2)])
def test_layers_pay_for_their_steps_separately(shape):
    found = joint_cost(shape, 1.5, 4.0)
    labels = list(np.ndindex(*shape))  # first layer slowest, as the labels of a grid
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            assert found[i, j] == sum(min(1.5 * abs(p - q), 4.0) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("size", [(1, 40), (40, 1)])
@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_a_chain_has_the_marginals_of_forward_and_backward(size, shape):
    labels = int(np.prod(shape))
    cost, step = costs(*size, labels, scale=8.0), joint_cost(shape, 1.0, 2.5)
    expected = forward_backward(cost.reshape(40, labels), step)
    for rounds in (1, 3):
        np.testing.assert_allclose(beliefs(cost, step, rounds).reshape(40, labels), expected, atol=2e-3)


def test_beliefs_come_close_to_the_exact_marginals_of_an_image_with_loops():
    cost, step = costs(3, 3, 2, scale=3.0), joint_cost((2,), 0.7, 2.0)
    found, expected = beliefs(cost, step, 4).numpy(), exact_marginals(cost.numpy(), step)
    np.testing.assert_allclose(found, expected, atol=0.05)
    alone = torch.softmax(-cost, -1).numpy()
    assert np.abs(found - expected).max() < 0.25 * np.abs(alone - expected).max()


def test_without_steps_every_pixel_is_on_its_own():
    cost = costs(5, 4, 6, scale=8.0)
    found = beliefs(cost, np.zeros((6, 6), np.float32), 2)
    np.testing.assert_allclose(found, torch.softmax(-cost, -1), atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (7, 9)])
def test_the_compiled_sweep_equals_the_matrix_products(size):
    cost, step = costs(*size, 12, seed=3, scale=10.0), joint_cost((3, 4), 2.0, 6.0)
    cost = cost - cost.amin(-1, keepdim=True)
    by_matrix = _beliefs_by_matrix(cost.neg().exp(), torch.from_numpy(np.exp(-step)), 3, False)[0]
    np.testing.assert_allclose(beliefs(cost, step, 3), by_matrix, atol=5e-3)  # the kernel drops beliefs below 1e-5


def test_beliefs_sum_to_one_even_where_nothing_fits():
    cost = costs(6, 6, 4, scale=1.0)
    cost[2, 2] = torch.tensor([0.0, 1e6, 1e6, 1e6])
    cost[2, 3] = torch.tensor([1e6, 1e6, 1e6, 1e5])
    found = beliefs(cost, joint_cost((4,), 50.0, 90.0), 2)
    assert bool(torch.isfinite(found).all())
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_a_pixel_yields_to_its_neighbours_and_an_edge_stays():
    truth = np.zeros((8, 12), int)
    truth[:, 6:] = 2
    cost = torch.full((8, 12, 3), 3.0)
    cost.scatter_(-1, torch.from_numpy(truth)[..., None], 0.0)
    cost[4, 3] = torch.tensor([2.0, 3.0, 0.0])  # an outlier that wants the other side
    label = beliefs(cost, joint_cost((3,), 2.0, 3.0), 3).argmax(-1)
    np.testing.assert_array_equal(label, truth)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (4, 7)])
def test_energy_is_the_sum_over_pixels_and_neighbours(size):
    rng = np.random.default_rng(0)
    cost, step = costs(*size, 6).numpy(), joint_cost((2, 3), 1.3, 2.0)
    label = rng.integers(0, 6, size)
    assert energy(cost, step, label) == pytest.approx(plain_energy(cost, step, label), rel=1e-5)


def test_a_level_that_goes_is_replaced_by_the_best_of_the_allowed():
    rng = np.random.default_rng(1)
    cost, step = costs(6, 7, 4).numpy(), joint_cost((4,), 1.0, 2.0)
    label = rng.integers(0, 4, (6, 7))
    instead, allowed = np.array([0, 1, 1, 3]), np.array([1, 3])
    found = without(cost, step, label, instead, allowed, 3)
    np.testing.assert_array_equal(found[label != 2], label[label != 2])
    assert set(np.unique(found[label == 2])) <= {1, 3}
    first = np.where(label == 2, 1, label)
    assert plain_energy(cost, step, found) <= plain_energy(cost, step, first)
    # no single pixel of those that lost their level would rather have the other one
    for y, x in np.argwhere(label == 2):
        other = found.copy()
        other[y, x] = 4 - found[y, x]
        assert plain_energy(cost, step, found) <= plain_energy(cost, step, other) + 1e-4


def test_beliefs_hold_no_numbers_too_small_for_quick_arithmetic():
    # certain pixels against certain neighbours: products of messages fall below the smallest normal float32
    cost = torch.full((12, 12, 6), 60.0)
    cost[:, :6, 0] = 0
    cost[:, 6:, 5] = 0
    found = beliefs(cost, joint_cost((6,), 4.0, 20.0), 2)
    assert float(found[found > 0].min()) > 1e-20
    torch.testing.assert_close(found.sum(-1), torch.ones(12, 12))


def test_the_change_of_the_last_round_is_what_two_runs_differ_by():
    cost = torch.rand(9, 11, 4, generator=torch.Generator().manual_seed(5)) * 6
    step = joint_cost((4,), 2.0, 6.0)
    belief, change = beliefs_and_change(cost, step, 3)
    assert torch.equal(belief, beliefs(cost, step, 3))
    torch.testing.assert_close(change, (beliefs(cost, step, 3) - beliefs(cost, step, 2)).abs().sum(-1) / 2)
    assert float(change.max()) > 1e-3  # neighbours as loose as these have not settled after three rounds
    assert float(beliefs_and_change(cost, step, 40)[1].max()) < 1e-4
