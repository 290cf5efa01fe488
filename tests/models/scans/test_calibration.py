"""Calibration, against errors of a known size and voxels of a known grid."""

import pytest
import torch

from microtomo.inverse.problem import Estimate, Problem
from microtomo.materials import load_stack
from microtomo.models.architectures import build_network
from microtomo.models.scans.calibration import Answered, deviation_scales
from microtomo.models.scans.head import Head, head_class, head_names, register_head
from microtomo.models.scans.heads import thickness as thickness_head
from microtomo.models.scans.heads.thickness import best_slack
from microtomo.models.scans.network import NetworkConfig
from microtomo.physics.forward import forward_model
from microtomo.training.scans import SimulatedCalibration
from microtomo.training.task import load_run

STACK = load_stack("au-al-si")
FORWARD = forward_model("published", STACK)


def answered(estimated, truth, deviation=1.0, **problem):
    """One pixel row for each pair of thickness maps (l, p) [nm]."""
    estimated, truth = torch.tensor(estimated)[None, :, None], torch.tensor(truth)[None, :, None]
    noise = torch.tensor([0.02])
    volume = torch.zeros(1, 1, 1, estimated.shape[-1])
    estimate = Estimate(estimated, torch.full_like(estimated, deviation), volume, estimated[:, 0] >= 0)
    return Answered(estimate, truth, Problem(FORWARD, noise, **problem))


def test_error_bars_are_scaled_to_hold_95_percent():
    errors = torch.linspace(0, 2, 2001).tolist()  # 95 % are below 1.9
    scales = deviation_scales([answered([errors, errors], [[0.0] * 2001] * 2, deviation=0.5)])
    assert scales.tolist() == pytest.approx([1.9 / 0.5 / 1.96] * 2, rel=1e-3)


def test_slack_is_found_on_the_voxels_of_the_network():
    """Gold of 5 nm, estimated 0.12 nm short: voxels of 5 nm lose one without slack, those of 10 nm lose nothing."""
    top = torch.tensor(STACK.max_nm)
    for voxel_nm, expected in ((5.0, 0.12), (10.0, 0.0)):  # slacks are tried in steps of 0.015 nm
        case = answered([[4.88, 4.88], [50.0, 50.0]], [[5.0, 5.0], [50.0, 50.0]], voxel_nm=voxel_nm, depth=40)
        assert expected - 1e-4 < float(best_slack([case], top)[0]) < expected + 0.0151


def test_slack_counts_the_voxels_of_thick_layers_too():
    """Aluminium of 150 nm in voxels of 5 nm fills 30 of them, of which a depth of 16 would hide the last."""
    case = answered([[0.0], [149.1]], [[0.0], [150.0]], voxel_nm=5.0, depth=40)
    assert 0.9 - 1e-4 < float(best_slack([case], torch.tensor(STACK.max_nm))[1]) < 1.06


def test_slack_follows_the_rule_of_the_volume():
    """A voxel belongs to the layer at its centre: 4.88 nm of 5 misses it, 9.9 nm of 10 does not."""
    case = answered([[4.88, 9.9], [0.0, 0.0]], [[5.1, 10.0], [0.0, 0.0]], rule="centre")
    assert 0.12 < float(best_slack([case], torch.tensor(STACK.max_nm))[0]) < 0.2


@pytest.mark.parametrize("architecture", ["conv3", "uvnet"])
def test_calibration_asks_for_volumes_of_the_networks_own_grid(monkeypatch, architecture):
    settings = ["data.height=8", "data.width=8", "data.validation=1", "network.width=4"]
    config = load_run(architecture, None, [*settings, "network.depth=33", "network.voxel_nm=5"])
    problems = [known.problem for known in SimulatedCalibration(config, 2).scans(2, 0.05)]
    assert [(p.depth, p.voxel_nm, float(p.noise)) for p in problems] == [(33, 5.0, pytest.approx(0.05))] * 2


def test_calibration_of_a_thickness_head_sets_scale_and_slack(monkeypatch):
    config = load_run("conv3", None, ["data.height=8", "data.width=8", "network.width=4"])
    network = build_network(config.network)
    asked = []
    monkeypatch.setattr(thickness_head, "best_slack", lambda cases, top: asked.append(len(cases)) or top * 0.01)
    network.calibrate(SimulatedCalibration(config, 2))
    assert asked == [2]
    assert network.head.slack.tolist() == pytest.approx([0.15, 1.5])
    assert bool((network.head.scale != 1).all())
    assert not network.training


def test_a_new_head_is_one_class():
    @register_head("centres", volumetric=False)
    class Centres(Head):
        """Always the middle of the range."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.channels = 1

        def loss(self, output, thickness, weights):
            return (output - thickness.mean()).abs().mean()

        def estimate(self, output, signal, problem):
            middle = torch.full_like(signal[:, :2], 7.0)
            volume = torch.zeros(1, problem.depth, *signal.shape[2:], dtype=torch.uint8)
            return Estimate(middle, middle, volume, signal[:, 0] > 0)

        def calibrate(self, network, source):
            self.called = True

    assert "centres" in head_names()
    assert head_class("centres", False) is Centres
    network = build_network(NetworkConfig(architecture="conv3", width=4, head="centres"))
    signal, problem = torch.ones(1, 31, 8, 8), Problem(FORWARD, torch.tensor([0.02]))
    assert float(network.estimate(signal, problem).thickness.mean()) == 7
    assert network.loss(signal, problem.noise, torch.zeros(1, 2, 8, 8)).ndim == 0
    network.calibrate(None)
    assert network.head.called
    with pytest.raises(ValueError, match=r"unknown head 'centers'.*centres"):
        NetworkConfig(architecture="conv3", head="centers")
