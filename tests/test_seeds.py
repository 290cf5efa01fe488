"""Streams of random numbers: none shares a layer with another, and what is published keeps its own."""

from itertools import combinations

import numpy as np
import pytest
import torch

from microtomo import seeds
from microtomo.errors import MicrotomoError
from microtomo.inverse import design
from microtomo.inverse.leaderboard import Trial, scans_of
from microtomo.materials import load_stack
from microtomo.reproduce.sem.chart import chart, chart_scans
from microtomo.seeds import TEST_SEED, VALIDATION_SEED, Stream, derive_seed, layer_seeds
from microtomo.simulate.dataset import STREAMS, load_config, make_sample
from microtomo.simulate.generation import forecast, generate_dataset
from microtomo.simulate.samples import draw_structure, draw_structures
from microtomo.simulate.structures import make_structure
from microtomo.training.scan_samples import SimulatedScans
from microtomo.training.task import load_run

STACK = load_stack("au-al-si")
SEED, COUNT, SIZE = 5, 20, 24


def as_bytes(structures):
    return {layer.numpy().tobytes() for layers in structures for layer in layers if layer.any()}


def test_no_seed_occurs_twice_whatever_the_stream_sample_and_part():
    places = [(s, i, part) for s in Stream for i in range(400) for part in (0, 1, 2, seeds.NOISE, seeds.KIND)]
    derived = {derive_seed(0, *place) for place in places}
    assert len(derived) == len(places)
    assert all(0 <= seed < 2**64 for seed in derived)
    assert not derived & {derive_seed(1, *place) for place in places}


def test_streams_have_numbers_of_their_own():
    assert len(Stream.__members__) == len(set(Stream)), "two names for one number"


@pytest.mark.parametrize("kind", ["continuous", "lithography"])
def test_no_two_streams_share_a_layer(kind):
    layers = {s: as_bytes(draw_structures(STACK, kind, SEED, s, range(COUNT), SIZE, SIZE)) for s in Stream}
    assert all(len(found) == 2 * COUNT for found in layers.values())
    for one, other in combinations(Stream, 2):
        assert not layers[one] & layers[other], f"{one.name} and {other.name}"


def test_training_and_calibration_see_no_layer_of_a_data_set_of_the_same_seed():
    config = load_run("conv3", seed=SEED, data__height=SIZE, data__width=SIZE, data__structures={"continuous": 1.0})
    uses = (Stream.TRAINING, Stream.TRAINING_VALIDATION, Stream.CALIBRATION)
    drawn = [as_bytes(SimulatedScans(config, use)[i].thickness for i in range(COUNT)) for use in uses]
    data = load_config(height=SIZE, width=SIZE, structures={"continuous": 1})
    drawn += [as_bytes(make_sample(data, SEED, split, i).thickness for i in range(COUNT)) for split in STREAMS]
    for one, other in combinations(drawn, 2):
        assert not one & other


def test_published_structures_keep_their_numbers():
    seeds_of = [[derive_seed(TEST_SEED, 2, i, k) for k in (0, 1)] for i in range(3)]
    expected = torch.stack([make_structure(STACK, "perlin", each, 32, 32) for each in seeds_of])
    scan = scans_of(Trial("", "perlin", "published", 0.02), 3, TEST_SEED, STACK, size=32)
    assert torch.equal(scan.truth, expected)
    config = load_config(height=32, width=32)
    for number, split in enumerate(("", "train", "validation", "test")):
        expected = make_structure(STACK, "perlin", [derive_seed(7, number, 4, k) for k in (0, 1)], 32, 32)
        assert torch.equal(make_sample(config, 7, split, 4).thickness, expected)


@pytest.mark.parametrize("seed", [TEST_SEED, VALIDATION_SEED])
def test_no_data_set_holds_the_structures_that_methods_are_scored_on(seed, tmp_path):
    config = load_config(train=1, validation=1, height=16, width=16)
    for run in (generate_dataset, forecast):
        with pytest.raises(MicrotomoError, match=f"seed {seed} is that of .* scored on: give another"):
            run(config, tmp_path / "set", seed=seed)
    assert not list(tmp_path.iterdir())
    generate_dataset(load_config(train=1, height=16, width=16), tmp_path / "set", seed=seed)


def test_checks_of_a_design_and_charts_draw_from_streams_of_their_own():
    made = design._lithography(STACK, 2)
    assert torch.equal(made[1], draw_structure(STACK, "lithography", TEST_SEED, Stream.DESIGN_STRUCTURES, 1, 64, 64))
    scan = chart_scans(STACK, Trial("", "chart", "published", 0.02), 3, 1, 64, SEED)
    assert torch.equal(scan.truth[0], chart(STACK, 64, derive_seed(SEED, Stream.CHARTS, 3, 0)))


def test_a_structure_does_not_depend_on_what_is_drawn_with_it():
    three = draw_structures(STACK, "perlin", SEED, Stream.SAMPLES, (4, 2, 9), 20, 30)
    assert three.shape == (3, 2, 20, 30)
    assert torch.equal(three[1], draw_structure(STACK, "perlin", SEED, Stream.SAMPLES, 2, 20, 30))


def test_synthetic_micrographs_and_layers_draw_from_different_generators():
    key = derive_seed(SEED, seeds.MICROGRAPHS, 0, 0)
    layers, micrographs = np.random.Generator(np.random.Philox(key=key)), np.random.default_rng(key)
    assert not set(layers.random(1000)) & set(micrographs.random(1000))


@pytest.mark.parametrize(
    ("place", "sentence"), [((256, 0, 0), "stream 256"), ((0, 2**48, 0), "sample"), ((0, 0, -1), "part -1")]
)
def test_places_without_a_seed_are_refused(place, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        derive_seed(0, *place)
    assert layer_seeds(0, 1, 2, 3) == tuple(derive_seed(0, 1, 2, k) for k in range(3))
