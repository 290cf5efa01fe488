"""The meaning of outputs, against columns counted by hand."""

import pytest
import torch

from microtomo.inverse.problem import Problem
from microtomo.materials import load_stack
from microtomo.models.scans.columns import column_counts, column_posterior
from microtomo.models.scans.heads.levels import LevelsHead, level_step
from microtomo.models.scans.heads.thickness import ThicknessHead
from microtomo.models.scans.heads.voxels import VoxelHead
from microtomo.physics.forward import backscatter, forward_model

STACK = load_stack("au-al-si")


def problem(rule="floor"):
    return Problem(forward_model("published", STACK), torch.tensor([0.02]), rule=rule)


@pytest.mark.parametrize(("max_nm", "step"), [(15, 0.5), (150, 5), (30, 1), (31, 2.5), (1000, 50), (0.3, 0.01)])
def test_steps_of_levels(max_nm, step):
    assert level_step(max_nm) == pytest.approx(step)


def test_levels_know_their_thickness_and_doubt():
    head = LevelsHead(STACK)
    assert head.counts == [31, 31]
    logits = torch.full((1, 62, 1, 1), -30.0)
    logits[0, 20] = 0  # 10 nm of gold for sure
    logits[0, 31 + 8] = logits[0, 31 + 12] = 0  # 40 or 60 nm of aluminium
    found = head.estimate(logits, torch.ones(1, 31, 1, 1), problem())
    assert found.thickness[0, :, 0, 0].tolist() == pytest.approx([10, 50], abs=1e-3)
    assert float(found.uncertainty[0, 1]) == pytest.approx(10, rel=0.02)
    assert float(found.uncertainty[0, 0]) < 0.5


def test_most_probable_voxels_win_over_the_mean():
    """A level just below a voxel's face and many above it: the voxel counts that are likeliest, not the mean."""
    head = LevelsHead(STACK)
    p = torch.full((1, 62, 1, 1), 1e-9)
    p[0, 0] = 1
    p[0, 31 + 9] = 0.4  # 45 nm: 4 voxels
    p[0, 31 + 10] = p[0, 31 + 11] = 0.3  # 50 and 55 nm: 5 voxels
    found = head.estimate(p.log(), torch.ones(1, 31, 1, 1), problem())
    assert int((found.volume == 2).sum()) == 5


def test_every_thickness_has_the_level_below_it():
    thickness = torch.tensor([[0.0, 0.49, 0.5, 10.0, 15.0], [0.0, 4.9, 5.0, 50.0, 150.0]])
    index = LevelsHead(STACK).index(thickness[None, ..., None])
    assert index[0, 0, :, 0].tolist() == [0, 0, 1, 20, 30]
    assert index[0, 1, :, 0].tolist() == [0, 0, 1, 10, 30]


def test_thickness_head_is_a_sigmoid_of_the_range_with_slack():
    head = ThicknessHead(STACK)
    output = torch.tensor([0.0, 0.0, 0.0, 0.0])[None, :, None, None]
    found = head.estimate(output, torch.ones(1, 31, 1, 1), problem())
    assert found.thickness[0, :, 0, 0].tolist() == [7.5, 75]
    assert int((found.volume == 1).sum()) == 0
    head.slack[0] = 2.6
    assert int((head.estimate(output, torch.ones(1, 31, 1, 1), problem()).volume == 1).sum()) == 1


def test_columns_of_the_stack():
    columns = column_counts(STACK, 16, 10.0)
    assert len(columns) == 2 * 16
    assert max(sum(c) for c in columns) == 16
    assert (1, 15) in column_counts(STACK, 16, 10.0)
    assert (1, 15) not in column_counts(STACK, 15, 10.0)


def test_column_posterior_by_hand():
    """One layer, two voxels: the probability of each column is the product of its voxels', normalised."""
    stack = STACK.model_copy(update={"layers": (STACK.layers[0].model_copy(update={"max_nm": 20.0}),)})
    p = torch.tensor([[0.2, 0.7], [0.8, 0.3]])  # class (empty, gold), voxel
    columns, logs = column_posterior(p.log()[None, :, :, None, None], stack, 10.0)
    weights = [0.2 * 0.7, 0.8 * 0.7, 0.8 * 0.3]  # nothing; one voxel; two
    assert columns == [(0,), (1,), (2,)]
    assert logs.exp()[0, :, 0, 0].tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-5)


def test_thickness_inside_sure_voxels_comes_from_the_scan():
    """The network knows only 4 voxels of aluminium; 47 nm is what the noise-free signal says."""
    truth = torch.tensor([0.0, 47.0])[None, :, None, None]
    head = VoxelHead(STACK, 16, 10.0, with_empty=True)
    logits = torch.full((1, 3, 16, 1, 1), -20.0)
    logits[:, 2, :4], logits[:, 0, 4:] = 20.0, 20.0
    low = Problem(forward_model("published", STACK), torch.tensor([0.002]))
    found = head.estimate(logits, backscatter(truth, STACK, "published"), low)
    assert float(found.thickness[0, 1]) == pytest.approx(47, abs=2.5)
    assert float(found.thickness[0, 0]) < 0.5
    assert int((found.volume == 2).sum()) == 4


def test_a_voxel_below_one_half_is_empty():
    head = VoxelHead(STACK, 16, 10.0, with_empty=False)
    output = torch.full((1, 2, 16, 1, 1), -20.0)
    output[:, 1, :3] = 20.0
    found = head.estimate(output, torch.ones(1, 31, 1, 1), problem())
    assert found.volume[0, :, 0, 0].tolist() == [2, 2, 2] + [0] * 13


def test_a_layer_that_is_probably_absent_is_absent():
    """60 % nothing, 40 % 10 nm of gold: 0 nm, off by 10 nm in 40 % of the cases; with 60 % for 10 nm: 10 nm."""
    head = LevelsHead(STACK)
    head.value[0] = head.value[31] = 0
    for share, thickness in ((0.4, 0.0), (0.6, 10.0)):
        p = torch.full((1, 62, 1, 1), 1e-12)
        p[0, 0], p[0, 20], p[0, 31] = 1 - share, share, 1
        found = head.estimate(p.log(), torch.ones(1, 31, 1, 1), problem())
        assert float(found.thickness[0, 0]) == pytest.approx(thickness, abs=1e-4)
        assert float(found.uncertainty[0, 0]) == pytest.approx(10 * min(share, 1 - share) ** 0.5, rel=0.01)
