"""What is said of a network, on networks whose answer is known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from microtomo.models.explain.attribution import (
    attributions,
    blurred,
    deletion,
    integrated_gradients,
    likeness,
    randomised,
    seg_grad_cam,
)
from microtomo.models.explain.kernels import fit_kernel, gabor, gaussian, laplacian
from microtomo.models.explain.layers import activations, cam_layers, convolutions, feature_space, receptive_field
from microtomo.models.explain.subject import Subject


class Small(nn.Module):
    """Two convolutions; the second channel of the answer is the class."""

    def __init__(self, side=5):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(1, 4, side, padding=side // 2)
        self.second = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, image):
        return self.second(self.first(image).relu())


def subject_of(network, image):
    def scores(net, x):
        logits = net(x)
        return torch.stack([logits[:, 0] - logits[:, 1], logits[:, 1] - logits[:, 0]], 1)

    return Subject(
        "small", network, image, image[0, 0].numpy(), scores, ("none", "disk"), ("image",), (None, "#E69F00")
    )


@pytest.fixture
def disk():
    y, x = np.mgrid[:64, :64]
    noise = np.random.default_rng(0).normal(0, 0.1, (64, 64))
    return torch.from_numpy((np.hypot(y - 20, x - 40) < 9) + noise).float()[None, None]


@pytest.mark.parametrize(
    ("function", "given"),
    [(gaussian, (1.0, 0.5, -1.0, 2.0)), (laplacian, (-2.0, 0.0, 1.0, 1.6)), (gabor, (1.5, 0, 0, 2.5, 0.05, 0.18, 0.4))],
)
def test_a_kernel_that_is_one_function_is_explained_by_it(function, given):
    y, x = np.meshgrid(np.arange(11) - 5.0, np.arange(11) - 5.0, indexing="ij")
    fit = fit_kernel(function(y, x, given) + 0.3)
    assert fit.explained > 0.995
    np.testing.assert_allclose(fit.fitted, function(y, x, given) + 0.3, atol=0.1 * abs(given[0]))


def test_noise_is_not_explained_and_small_kernels_are_not_overfitted():
    noise = np.random.default_rng(1).normal(size=(9, 9))
    assert fit_kernel(noise).explained < 0.6
    assert all(len(t.parameters) == 4 for t in fit_kernel(noise[:3, :3]).terms)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(disk):
    subject = subject_of(Small(), disk)
    where = torch.zeros(64, 64, dtype=torch.bool)
    where[15:25, 35:45] = True
    total = integrated_gradients(subject, subject.network, 1, where).sum()
    with torch.no_grad():
        ends = [subject.scores(subject.network, x)[0, 1][where].sum() for x in (disk, blurred(disk))]
    assert total == pytest.approx(float(ends[0] - ends[1]), rel=0.05)


def test_grad_cam_is_that_of_captum(disk):
    captum = pytest.importorskip("captum.attr")
    subject = subject_of(Small(), disk)
    where = disk[0, 0] > 0.5
    ours = seg_grad_cam(subject, subject.network, 1, where, "first")
    way = captum.LayerGradCam(
        lambda x: subject.scores(subject.network, x)[:, 1][:, where].sum(1), subject.network.first
    )
    theirs = way.attribute(disk).relu()[0, 0].detach().numpy()
    np.testing.assert_allclose(ours, theirs / theirs.max(), atol=1e-5)


def test_deleting_what_counts_lowers_the_score_faster_than_chance(disk):
    network = Small(1)
    with torch.no_grad():  # the class is brightness alone
        network.first.weight.copy_(torch.tensor([1.0, 0, 0, 0])[:, None, None, None])
        network.first.bias.zero_()
        network.second.weight.zero_()
        network.second.weight[1, 0, 1, 1] = 1
        network.second.bias.zero_()
    subject = subject_of(network, disk)
    where = disk[0, 0] > 0.5
    knowing = deletion(subject, 1, where, disk[0, 0].numpy())
    ignorant = deletion(subject, 1, where, -disk[0, 0].numpy())
    assert knowing.scores[0] == pytest.approx(float(disk[0, 0][where].mean()), rel=1e-5)
    assert knowing.gain > 0.1 > 0 > ignorant.gain


def test_random_weights_keep_their_size_and_change_the_answer(disk):
    network = Small()
    other = randomised(network)
    assert float((other.first.weight.std() / network.first.weight.std()).detach()) == pytest.approx(1, abs=0.3)
    assert not torch.equal(other.first.weight, network.first.weight)
    assert likeness(disk[0, 0].numpy(), disk[0, 0].numpy() ** 3) > 0.99
    assert likeness(np.ones((4, 4)), np.eye(4)) == 0


def test_the_receptive_field_of_two_convolutions_is_their_sum(disk):
    field = receptive_field(subject_of(Small(5), disk), 1)
    assert field.reach_px == 2 + 1
    assert field.side_px <= 7


def test_activations_and_features_are_those_of_the_layers(disk):
    subject = subject_of(Small(), disk)
    order = convolutions(subject)
    assert order == {"first": (1, 4, 64, 64), "second": (1, 2, 64, 64)}
    maps = activations(subject, ["first"], channels=2)["first"]
    assert maps.shape == (2, 64, 64)
    with torch.no_grad():
        all_maps = subject.network.first(disk)[0].numpy()
    assert any(np.allclose(maps[0], each, atol=1e-6) for each in all_maps)
    assert maps[0].std() == pytest.approx(all_maps.std((1, 2)).max(), rel=1e-4)
    space = feature_space(subject, 1, "first", samples=500)
    assert space.places.shape == (500, 2)
    assert space.places[:, 0].std() >= space.places[:, 1].std()
    assert space.wrong is None


def test_attributions_come_with_their_checks(disk):
    subject = subject_of(Small(), disk)
    found = attributions(subject, 1, cam_layers(convolutions(subject)))
    assert found[-1].kind == "integrated gradients"
    assert all(one.map.shape == (64, 64) and -1 <= one.random <= 1 for one in found)
