"""The network for edges: both seen alike, its loss by hand, and what it does to a segmentation."""

import numpy as np
import pytest
import torch

from microtomo.models.architectures import Shape, build_network
from microtomo.models.micrographs.layer_edges import LayerEdges, refined
from microtomo.models.weights import load_network, shipped_weights
from microtomo.tem.layers.edge_profiles import EDGE_FEATURES, FEATURES
from microtomo.tem.layers.synthetic import overcoat
from microtomo.tem.layers.thickness import measure_layer
from microtomo.tem.segmentation import Segmentation
from microtomo.training.layer_edges import edge_loss


def test_exchanged_edges_give_exchanged_answers():
    torch.manual_seed(0)
    network = build_network(Shape.model_validate({"architecture": "layer-edges", "members": 2, "width": 8}))
    features = torch.randn(3, FEATURES)
    low, high, rest = features.split([EDGE_FEATURES, EDGE_FEATURES, 2], 1)
    out, other = network(features), network(torch.cat([high, low, rest], 1))
    assert out.shape == (3, 2, 2, 2)
    torch.testing.assert_close(out, other.flip(2))


def test_the_loss_is_the_likelihood_of_normal_distributions_by_hand():
    out = torch.zeros(1, 1, 2, 2)
    out[..., 1] = np.log(4.0)  # deviation 2 of both
    shifts = torch.tensor([[2.0, 0.0]])
    # (log 4 + 1) / 2 and log 4 / 2, mean; smooth L1 of 2 is 1.5, of 0 is 0, mean 0.75
    assert float(edge_loss(out, shifts)) == pytest.approx((np.log(4) + 0.5) / 2 + 0.3 * 0.75, rel=1e-5)


def test_the_error_is_that_of_the_mixture_of_the_members():
    network = build_network(Shape.model_validate({"architecture": "layer-edges", "members": 2, "width": 4}))
    for member, place in zip(network.members, (1.0, 3.0), strict=True):
        torch.nn.init.zeros_(member[-1].weight)
        member[-1].bias.data = torch.tensor([place, 0.0])  # deviation 1
    shift, error = network.shifts(np.zeros(FEATURES, dtype=np.float32))
    np.testing.assert_allclose(shift, [2, 2])
    np.testing.assert_allclose(error, [np.sqrt(2)] * 2, rtol=2e-3)


def test_the_weights_that_ship_put_edges_right_that_are_off():
    before, after = [], []
    for index in range(4):
        sample = overcoat(11, index)
        low, high = sample.layer.distances(sample.image.shape)
        wrong = 1 / (1 + np.exp(-2 * np.clip(np.minimum(low + 2.0, high + 1.0), -20, 20)))  # 3 px too thick
        given = Segmentation.of_mask(wrong > 0.5, wrong.astype(np.float32), "layer-unet")
        put_right = refined(sample.image, given)
        errors = [
            measure_layer(each.probability).mean - sample.mean_nm / sample.pixel_nm for each in (given, put_right)
        ]
        before.append(abs(errors[0]))
        after.append(abs(errors[1]))
        assert np.isfinite(put_right.details.errors).all()
    assert np.mean(before) == pytest.approx(3, abs=0.3)
    assert np.mean(after) < 1


def test_a_segmentation_without_a_layer_stays_as_it_is():
    nothing = Segmentation.of_mask(np.zeros((64, 64), bool), np.zeros((64, 64), np.float32), "layer-unet")
    assert refined(np.random.default_rng(0).random((64, 64)), nothing) is nothing


def test_the_weights_that_ship_are_those_of_the_default_shape():
    shipped = load_network(shipped_weights("layer-edges"), LayerEdges)
    assert shipped.config == Shape.model_validate({"architecture": "layer-edges"})
