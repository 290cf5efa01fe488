"""Samples that depend on their number alone, losses by hand, settings with sentences."""

import math

import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import load_stack
from microtomo.models.architectures import build_network
from microtomo.models.scans.columns import column_counts, column_index
from microtomo.models.scans.network import NetworkConfig
from microtomo.physics.forward import forward_model
from microtomo.seeds import Stream
from microtomo.training.data import Consecutive, turned
from microtomo.training.module import RunModule
from microtomo.training.scan_samples import SimulatedScans, simulate
from microtomo.training.scans import ScanTraining, layer_weights
from microtomo.training.task import load_run

STACK = load_stack("au-al-si")
SMALL = ["data.height=16", "data.width=24", "data.epoch=6"]


def network_of(name, **settings):
    return build_network(NetworkConfig(architecture=name, width=4, **settings))


def test_a_sample_depends_on_its_number_alone():
    config = load_run("conv3", None, SMALL)
    one, again = SimulatedScans(config, Stream.TRAINING)[7], SimulatedScans(config, Stream.TRAINING)[7]
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.thickness, SimulatedScans(config, Stream.TRAINING)[8].thickness)
    assert not torch.equal(one.thickness, SimulatedScans(config, Stream.TRAINING_VALIDATION)[7].thickness)
    other = load_run("conv3", None, [*SMALL, "seed=2"])
    assert not torch.equal(one.thickness, SimulatedScans(other, Stream.TRAINING)[7].thickness)


def test_noise_levels_are_the_usual_one_and_a_range():
    config = load_run("conv3", None, [*SMALL, "data.noise_share=0.5", "data.noise_range=[0.03, 0.1]"])
    levels = [round(float(SimulatedScans(config, Stream.TRAINING)[i].noise), 6) for i in range(60)]
    usual = sum(level == 0.02 for level in levels)
    assert 15 < usual < 45
    assert all(0.03 <= level <= 0.1 for level in levels if level != 0.02)
    assert {round(float(SimulatedScans(config, Stream.TRAINING_VALIDATION)[i].noise), 6) for i in range(20)} == {0.02}


def test_simulated_signal_is_the_model_times_noise_and_no_batch_matters():
    thickness = torch.tensor([12.0, 80.0])[None, :, None, None].expand(3, 2, 64, 64).contiguous()
    noise, seeds = torch.tensor([0.02, 0.1, 0.02]), torch.tensor([4, 5, 6])
    forward = forward_model("material", STACK)
    signal = simulate(thickness, noise, seeds, forward)
    alone = simulate(thickness[1:2], noise[1:2], seeds[1:2], forward)
    assert torch.equal(signal[1:2], alone)
    rest = signal / forward(thickness) - 1
    assert [float(rest[i].std()) for i in range(3)] == pytest.approx([0.02, 0.1, 0.02], rel=0.02)


@pytest.mark.parametrize(("world", "counts"), [(1, [7]), (2, [3, 3]), (3, [2, 2, 2])])
def test_devices_share_an_epoch_without_overlap(world, counts):
    parts = [list(Consecutive(20, 7, rank, world)) for rank in range(world)]
    assert [len(part) for part in parts] == counts
    assert len({i for part in parts for i in part}) == sum(counts)
    assert min(min(part) for part in parts) == 20


def test_eight_symmetries():
    image = torch.arange(9).reshape(1, 3, 3)
    assert len({tuple(turned(image, k).flatten().tolist()) for k in range(8)}) == 8
    assert {turned(torch.zeros(1, 3, 5), k).shape for k in range(8)} == {(1, 3, 5)}


EVEN = torch.ones(2)


def test_thickness_loss_is_the_weighted_square_in_shares_of_the_range(monkeypatch):
    monkeypatch.setattr("microtomo.models.scans.heads.thickness.DEVIATION_WEIGHT", 0.0)
    head = network_of("conv3").head
    output = torch.zeros(1, 4, 1, 1)  # sigmoid(0): half of the range
    truth = torch.tensor([15.0, 0.0])[None, :, None, None]
    assert float(head.loss(output, truth, EVEN)) == pytest.approx(0.25)
    truth = torch.tensor([15.0, 75.0])[None, :, None, None]
    # only gold is wrong, by half a range: weights 1 : 0.01 make it 2 / 1.01 of its share of two layers
    weights = layer_weights(load_run("conv3", optimiser__layer_weights=(1.0, 0.01)))
    assert float(head.loss(output, truth, weights)) == pytest.approx(0.25 / 1.01)
    with pytest.raises(MicrotomoError, match="3 layer weights for 2 layers"):
        layer_weights(load_run("conv3", optimiser__layer_weights=(1, 1, 1)))


def test_levels_loss_is_cross_entropy():
    head = network_of("conv3", head="posterior").head
    even = torch.zeros(1, 62, 2, 2)
    truth = torch.tensor([10.0, 75.0])[None, :, None, None].expand(1, 2, 2, 2)
    assert float(head.loss(even, truth, EVEN)) == pytest.approx(math.log(31), rel=1e-5)
    sure = torch.full((1, 62, 2, 2), -100.0)
    sure[:, 20], sure[:, 31 + 15] = 0, 0
    assert float(head.loss(sure, truth, EVEN)) == pytest.approx(0, abs=1e-5)


def test_the_loss_of_a_network_is_the_mean_over_its_supervised_outputs():
    network = network_of("stacked-unet", head="posterior", levels=1).eval()
    signal, noise = torch.rand(1, 31, 8, 8) + 0.5, torch.tensor([0.02])
    truth = torch.full((1, 2, 8, 8), 7.0)
    outputs = network.supervised(signal, noise)
    assert len(outputs) == 3
    each = [float(network.head.loss(output, truth, EVEN).detach()) for output in outputs]
    assert float(network.loss(signal, noise, truth).detach()) == pytest.approx(sum(each) / 3, rel=1e-5)


def test_voxel_loss_is_the_square_against_one_hot_voxels():
    head = network_of("uvnet").head
    truth = torch.tensor([10.0, 20.0])[None, :, None, None]  # voxels: gold, aluminium, aluminium, 13 empty
    output = torch.zeros(1, 2, 16, 1, 1)
    assert float(head.loss(output, truth, EVEN)) == pytest.approx(3 / 32)
    output[0, 0, 0] = output[0, 1, 1] = output[0, 1, 2] = 1
    assert float(head.loss(output, truth, EVEN)) == pytest.approx(0)


def test_column_loss_is_the_negative_log_probability_of_the_column():
    """Even logits: every column of the stack is as likely."""
    head = network_of("uvnet", head="posterior").head
    truth = torch.tensor([10.0, 20.0])[None, :, None, None]
    output = torch.full((1, 2, 16, 1, 1), 0.5)
    assert float(head.loss(output, truth, EVEN)) == pytest.approx(math.log(len(column_counts(STACK, 16, 10.0))))


def test_pixels_know_their_column():
    columns = column_counts(STACK, 16, 10.0)
    thickness = torch.tensor([[9.9, 10.0, 15.0], [0.0, 49.0, 150.0]])[None, ..., None]
    index = column_index(thickness, columns, 16, 10.0)[0, :, 0]
    assert [columns[i] for i in index] == [(0, 0), (1, 4), (1, 15)]
    cut = column_counts(STACK, 8, 10.0)
    assert cut[int(column_index(thickness, cut, 8, 10.0)[0, 2, 0])] == (1, 7)


def test_learning_rate_rises_then_falls_to_zero():
    config = load_run("conv3", None, ["optimiser.learning_rate=0.1", "optimiser.warmup=10", "network.width=4"])
    schedule = RunModule(ScanTraining(config), 100).configure_optimizers()["lr_scheduler"]["scheduler"]
    rates = [schedule.lr_lambdas[0](step) for step in range(101)]
    assert rates[0] < 0.2
    assert max(rates) == pytest.approx(max(rates[8:14]))
    assert rates[100] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["network.wdth=3"], "network.wdth.*width"),
        (["data.structures={perlyn=1}"], "perlyn.*perlin"),
        (["optimiser.learning_rate=-1"], "learning_rate"),
        (["epochs=0"], "epochs"),
        (["nonsense"], "no assignment"),
    ],
)
def test_settings_are_refused_with_a_sentence(settings, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        load_run("conv3", None, settings)


def test_unknown_network_names_the_nearest():
    with pytest.raises(MicrotomoError, match="uvnet"):
        load_run("uvent")
