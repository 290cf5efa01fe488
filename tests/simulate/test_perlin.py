import math

import noise
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.simulate.perlin import gradient_noise, random_gradients


def library_gradients(cells_y, cells_x, base):
    """Node gradients of noise.pnoise2, read off next to each node: there the field is its gradient times the step."""
    h = 1e-4
    nodes = torch.empty(cells_y + 1, cells_x + 1, 2, dtype=torch.float64)
    for i in range(cells_y + 1):
        for j in range(cells_x + 1):
            nodes[i, j, 0] = noise.pnoise2(i + h, j, base=base) / h
            nodes[i, j, 1] = noise.pnoise2(i, j + h, base=base) / h
    return nodes.round()  # the library's gradients are whole numbers


@pytest.mark.parametrize(("cells_y", "cells_x", "height", "width"), [(2, 2, 128, 128), (1, 2, 61, 90), (1, 1, 7, 4)])
def test_equals_the_noise_library(cells_y, cells_x, height, width):
    field = gradient_noise(library_gradients(cells_y, cells_x, 3), height, width)
    expected = torch.tensor(
        [
            [noise.pnoise2(y * cells_y / height, x * cells_x / width, base=3) for x in range(width)]
            for y in range(height)
        ],
        dtype=torch.float64,
    )
    assert float(expected.std()) > 0.05
    assert float((field - expected).abs().max()) < 1e-6


def test_batch_is_the_fields_one_by_one():
    gradients = torch.stack([random_gradients(seed) for seed in (1, 2, 2**64 - 1)]).reshape(3, 1, 3, 3, 2)
    fields = gradient_noise(gradients, 31, 20)
    assert fields.shape == (3, 1, 31, 20)
    assert torch.equal(fields[1, 0], gradient_noise(gradients[1, 0], 31, 20))


def test_float32_follows_float64():
    gradients = random_gradients(5)
    single = gradient_noise(gradients.float(), 64, 64)
    assert single.dtype == torch.float32
    assert float((single - gradient_noise(gradients, 64, 64)).abs().max()) < 1e-6


def test_derivative_in_the_gradients():
    assert torch.autograd.gradcheck(lambda g: gradient_noise(g, 6, 5), (random_gradients(0).requires_grad_(),))


def test_statistics_of_random_fields():
    fields = gradient_noise(torch.stack([random_gradients(seed) for seed in range(1000)]), 32, 32)
    assert float(fields.flatten(1).std(1).mean()) == pytest.approx(0.16, abs=0.01)
    greatest = fields.flatten(1).amax(1)
    assert float(greatest.median()) == pytest.approx(0.35, abs=0.04)
    assert float(((greatest > 0.22) & (greatest < 0.54)).double().mean()) > 0.9


def test_gradient_components_are_uniform():
    components = torch.stack([random_gradients(seed, cells=4) for seed in range(400)])
    assert components.shape == (400, 5, 5, 2)
    assert float(components.abs().max()) <= 1
    assert float(components.mean()) == pytest.approx(0, abs=0.02)
    assert float(components.std()) == pytest.approx(1 / math.sqrt(3), abs=0.01)


def test_seeds_that_share_their_low_half_differ():
    assert not torch.equal(random_gradients(7), random_gradients(7 + 2**32))


def test_wrong_gradients_are_named():
    with pytest.raises(MicrotomoError, match="cells_y"):
        gradient_noise(torch.zeros(3, 3), 8, 8)
