"""Weighing a network with the scan, against posteriors computed by hand and thicknesses known beforehand."""

import math

import pytest
import torch

from microtomo.inverse.problem import Problem
from microtomo.materials import load_stack
from microtomo.models.scans.evidence import NOISES, Levels, Weighing, evidence_within, level_shares
from microtomo.models.scans.heads.levels import LevelsHead
from microtomo.models.scans.heads.voxels import VoxelHead
from microtomo.physics.forward import backscatter, forward_model

STACK = load_stack("au-al-si")


def problem(noise=0.02, rule="floor", stack=STACK):
    return Problem(forward_model("published", stack), torch.tensor([noise]), rule=rule)


def test_pixels_vote_on_the_levels_of_an_image():
    """Nine pixels that lean to level 1 outvote the levels that nobody is sure of."""
    p = torch.tensor([[0.2, 0.5, 0.3]] * 9 + [[0.34, 0.33, 0.33], [0.0, 0.0, 1.0]])
    share = level_shares(p)
    assert float(share.sum()) == pytest.approx(1, rel=1e-5)
    assert share.argmax() == 1
    weighted = p * share
    assert weighted[9].argmax() == 1
    assert float(weighted[0, 1] / weighted[0].sum()) > 0.7
    assert weighted[10].argmax() == 2


def test_shares_are_a_fixed_point_of_expectation_maximisation():
    """Two pixels sure of level 0, one of level 1, none of level 2: two thirds, one third, nothing."""
    p = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert level_shares(p).tolist() == pytest.approx([2 / 3, 1 / 3, 0])


def test_evidence_within_groups_by_hand():
    score = torch.tensor([[0.5, 0.25, 0.125, 1.0]]).log()
    found = evidence_within(score, torch.tensor([0, 1, 1, 0]), 2)
    assert found.exp()[0].tolist() == pytest.approx([1.5, 0.375])


def test_labels_run_over_levels_first_layer_slowest():
    ladder = [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0, 4.0])]
    assert Levels(ladder, ladder).indicators().tolist() == [
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1],
        [1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 1],
    ]


def test_levels_of_many_layers_are_joined_but_nothing_stays_nothing():
    ladder = [torch.arange(31.0)] * 4
    fewer, into = Levels(ladder, ladder).coarse()
    assert math.prod(fewer.shape) <= 40_000
    assert into[0][0] == 0
    assert into[0][1] == 1
    assert float(fewer.value[0][0]) == 0
    assert float(fewer.floor[0][1]) == 1
    for k in range(31):
        low = fewer.floor[0][into[0][k]]
        assert low <= k < low + 3
    same, each = Levels(ladder[:2], ladder[:2]).coarse()
    assert same.shape == (31, 31)
    assert each[0].tolist() == list(range(31))


def test_trust_and_votes_are_those_of_the_nearest_noise_level():
    weighing = Weighing(2)
    weighing.trust.copy_(torch.tensor([0.1, 0.3, 1.0]))
    weighing.votes[2, 1] = 1
    assert NOISES == (0.02, 0.05, 0.10)
    assert weighing.at(0.001) == (pytest.approx(0.1), [False, False])
    assert weighing.at(0.03) == (pytest.approx(0.1), [False, False])
    assert weighing.at(0.04) == (pytest.approx(0.3), [False, False])
    assert weighing.at(0.5) == (pytest.approx(1.0), [False, True])


@pytest.mark.parametrize("truth", [(0.0, 0.0), (10.0, 0.0), (0.0, 75.0), (5.0, 110.0)])
def test_a_network_without_an_opinion_finds_what_the_scan_says(truth):
    """Even logits, full trust, little noise: the thicknesses that made the signal."""
    head = LevelsHead(STACK)
    head.weighing.trust.fill_(1)
    signal = backscatter(torch.tensor(truth)[None, :, None, None], STACK, "published")
    found = head.estimate(torch.zeros(1, 62, 1, 1), signal, problem(0.002))
    assert found.thickness[0, :, 0, 0].tolist() == pytest.approx(truth, abs=0.5)
    columns = (found.volume[0, :, 0, 0] == 1).sum(), (found.volume[0, :, 0, 0] == 2).sum()
    assert columns == (truth[0] // 10, truth[1] // 10)


def test_without_trust_a_network_is_believed_whatever_the_scan_says():
    head = LevelsHead(STACK)
    logits = torch.full((1, 62, 1, 1), -30.0)
    logits[0, 20] = logits[0, 31] = 0
    found = head.estimate(logits, torch.ones(1, 31, 1, 1), problem())
    assert float(found.thickness[0, 0]) == pytest.approx(10, abs=1e-3)


def test_trust_lets_the_scan_overrule_a_column_of_voxels():
    """The network is 99 % sure of three voxels of aluminium, the scan is of 75 nm."""
    head = VoxelHead(STACK, 16, 10.0, with_empty=True)
    logits = torch.zeros(1, 3, 16, 1, 1)
    logits[:, 2, :3], logits[:, 0, 3:] = 5.0, 5.0
    signal = backscatter(torch.tensor([0.0, 75.0])[None, :, None, None], STACK, "published")
    believed = head.estimate(logits, signal, problem(0.002))
    assert int((believed.volume == 2).sum()) == 3
    head.weighing.trust.fill_(1)
    corrected = head.estimate(logits, signal, problem(0.002))
    assert int((corrected.volume == 2).sum()) == 7
    assert float(corrected.thickness[0, 1]) == pytest.approx(75, abs=1)


def test_a_column_that_the_scan_refutes_keeps_its_middle():
    """Without trust the network's column stands even where its likelihood underflows: nothing is lost or undefined."""
    head = VoxelHead(STACK, 16, 10.0, with_empty=True)
    logits = torch.full((1, 3, 16, 1, 1), -40.0)
    logits[:, 2, :3], logits[:, 0, 3:] = 40.0, 40.0
    signal = backscatter(torch.tensor([15.0, 150.0])[None, :, None, None], STACK, "published")
    found = head.estimate(logits, signal, problem(0.002))
    assert 30 <= float(found.thickness[0, 1]) < 40
    assert int((found.volume == 2).sum()) == 3


def test_images_vote_alone_and_however_many_come_together():
    generator = torch.Generator().manual_seed(4)
    thickness = torch.rand(2, 2, 12, 12, generator=generator) * torch.tensor([15.0, 150.0])[:, None, None]
    signal = backscatter(thickness, STACK, "published")
    signal = signal * (1 + 0.02 * torch.randn(signal.shape, generator=generator))
    output = torch.randn(2, 62, 12, 12, generator=generator)
    head = LevelsHead(STACK)
    head.weighing.trust.fill_(1)
    head.weighing.votes.fill_(1)
    both = head.estimate(output, signal, Problem(forward_model("published", STACK), torch.tensor([0.02, 0.02])))
    second = head.estimate(output[1:], signal[1:], problem())
    torch.testing.assert_close(both.thickness[1:], second.thickness)
    assert torch.equal(both.volume[1:], second.volume)


def test_votes_fill_voxels_but_leave_thickness_to_the_pixel():
    """An image of 10 nm of gold, one pixel of which leans a little below: its voxel is voted full."""
    head = LevelsHead(STACK)
    p = torch.full((1, 62, 1, 50), 1e-9)
    p[0, 20] = 1
    p[0, 31] = 1
    p[0, 20, 0, 0], p[0, 19, 0, 0] = 0.4, 0.6
    signal = torch.ones(1, 31, 1, 50)
    alone = head.estimate(p.log(), signal, problem())
    head.weighing.votes.fill_(1)
    voted = head.estimate(p.log(), signal, problem())
    assert int((alone.volume == 1).sum()) == 49
    assert int((voted.volume == 1).sum()) == 50
    torch.testing.assert_close(alone.thickness, voted.thickness)
