"""Scans with lateral spread inverted: against thicknesses that are known, with kernels that are right and wrong."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from microtomo import Scan, reconstruct
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.spread import CORRECTION, note, outcome
from microtomo.inverse.spread_levels import LevelFit
from microtomo.inverse.spread_rounds import Rounds, Status
from microtomo.materials import make_stack
from microtomo.physics.forward import forward_model
from microtomo.physics.spread_kernels import SpreadKernels
from microtomo.physics.spread_model import spread_around
from microtomo.physics.surroundings import Surroundings
from microtomo.simulate.scans import simulate_scan

KEV = (5.0, 7.0, 9.0, 12.0, 15.0, 20.0, 25.0, 30.0)
STACK = make_stack(
    {"name": "al-si", "substrate": "Si", "layers": [{"material": "Al", "max_nm": 60}], "energies_kev": list(KEV)}
)


def kernels(width=1.0):
    """Two exit energies; radii grow with the beam's energy and are spread over a factor of four."""
    e = np.array(KEV)
    radii = (6.0 * e)[:, None, None] * np.array([1.0, 2.0])[:, None] * np.array([0.5, 0.8, 1.2, 2.0]) * width
    return SpreadKernels(
        e, np.full((e.size, 2), 0.09), e[:, None] * np.array([0.8, 0.5]), radii, np.zeros(0), np.zeros((0, e.size, 4))
    )


@pytest.fixture(scope="module")
def spread():
    return spread_around(forward_model("transport", STACK), kernels(), 10.0)


@pytest.fixture(scope="module")
def terraces():
    truth = np.zeros((1, 32, 40), np.float32)
    truth[0, 4:20, 6:22] = 20.0
    truth[0, 12:28, 18:36] = 50.0
    return truth


@pytest.fixture(scope="module")
def scan(spread, terraces):
    return simulate_scan(STACK, terraces, forward=spread, noise=0.01, seed=5, pixel_nm=10.0)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_one_pixel_changed_alone_has_the_signal_of_the_whole_model(spread, terraces):
    given, whole = Surroundings.of(spread, terraces)
    assert whole == pytest.approx(spread.fast(terraces), rel=1e-5)
    other = terraces.copy()
    other[0, 15, 20] = 3.0
    changed = spread.fast(other)[:, 15, 20]
    assert np.abs(changed / whole[:, 15, 20] - 1).max() > 0.1
    assert given.signal(other)[:, 15, 20] == pytest.approx(changed, rel=1e-4)


def test_misfit_of_labels_is_the_likelihood_of_their_signals(spread, terraces, scan):
    given, _ = Surroundings.of(spread, terraces)
    labels = np.array([[0.0, 20.0, 33.0]])
    cost = given.misfit(scan.data, labels, 0.01)
    for j, nm in enumerate(labels[0]):
        signal = given.signal(np.full_like(terraces, nm)).astype(float)
        expected = ((scan.data / signal - 1) ** 2).sum(0) / 2e-4 + np.log(signal).sum(0)
        assert cost[..., j] == pytest.approx(expected, rel=1e-3, abs=0.5)


def test_buried_films_and_parts_of_an_image_keep_their_surroundings():
    stack = make_stack(
        {
            "name": "two", "substrate": "Si", "energies_kev": [8.0, 15.0],
            "layers": [{"material": "Au", "max_nm": 6}, {"material": "Al", "max_nm": 60}],
        }
    )  # fmt: skip
    e = np.array([8.0, 15.0])
    down = np.array([[[3.0, 9.0]] * 2, [[8.0, 20.0]] * 2, [[12.0, 30.0]] * 2])
    radii = np.full((2, 1, 2), 60.0)
    around = SpreadKernels(e, np.full((2, 1), 0.17), e[:, None] * 0.6, radii, np.array([20.0, 40.0, 60.0]), down)
    model = spread_around(forward_model("transport", stack), around, 10.0, beam_fwhm_nm=15.0)
    films = np.random.default_rng(1).uniform(0, 1, (2, 20, 14)).astype(np.float32) * np.array([6, 60])[:, None, None]
    given, whole = Surroundings.of(model, films)
    assert whole == pytest.approx(model.fast(films.astype(np.float32)), rel=1e-4)
    rows, columns = slice(3, 15), slice(2, 9)
    part = given.part(rows, columns)
    assert np.array_equal(part.signal(films[:, rows, columns]), given.signal(films)[:, rows, columns])


def test_levels_and_kernel_width_come_back_through_the_spread(spread, terraces, scan):
    """Levels 15 % off, kernels 15 % too wide: what no pixel tells by itself, all tell together."""
    wide = spread.with_kernels(kernels(1.15))
    found = LevelFit(scan.data.astype(float), wide, 0.01)(terraces * 1.15, 0.0, free_width=True, steps=8)
    assert np.exp(found.width) == pytest.approx(1 / 1.15, abs=4 * found.width_deviation + 0.01)
    off = np.abs(found.thickness - terraces)[terraces > 0]
    assert off.max() < 1.0
    assert (off < 4 * found.deviation[terraces > 0] + 0.1).all()


@pytest.mark.parametrize("factor", [1.0, 1.15, 0.85])
def test_reconstruction_with_spread_finds_the_films(terraces, scan, factor):
    without = reconstruct(scan, forward="transport", noise=0.01)
    rec = reconstruct(scan, forward="transport", noise=0.01, spread=kernels(factor))
    error = rec.thickness - terraces
    assert rms(error) < 2.0
    assert rms(error) < 0.25 * rms(without.thickness - terraces)
    assert (np.abs(error) <= 1.96 * rec.uncertainty + 0.3)[terraces > 0].mean() > 0.9
    correction = rec.history[CORRECTION]
    assert correction["status"] == ["converged"]
    assert correction["kernel_width"][0] * factor == pytest.approx(1, abs=0.03)
    assert "times as wide fit best" in outcome(rec.history)


def test_another_method_sees_the_scan_without_its_spread(terraces, scan):
    rec = reconstruct(scan, "likelihood", forward="transport", noise=0.01, spread=kernels())
    assert rms(np.median(rec.thickness[0, 14:26, 24:34]) - 50.0) < 12.0
    assert rec.history[CORRECTION]["rounds"][0] > 1


def test_the_round_with_the_least_misfit_is_kept_and_rounds_that_swing_say_so(spread, terraces, scan):
    """A solver that is right every other time: its worse rounds are not taken, and nothing converges."""
    calls = []

    def swinging(signal: torch.Tensor, problem: Problem) -> Estimate:
        calls.append(1)
        thickness = torch.from_numpy(terraces.copy())[None]
        if len(calls) % 2 == 0:
            thickness[..., :10, :] = 60.0 if len(calls) % 4 else 40.0
        volume = torch.zeros((1, problem.depth, *terraces.shape[1:]), dtype=torch.uint8)
        return Estimate(
            thickness, torch.ones_like(thickness), volume, torch.ones_like(thickness[:, 0], dtype=torch.bool)
        )

    problem = Problem(spread.base, torch.tensor([0.01]))
    rounds = Rounds(swinging, torch.from_numpy(scan.data), problem, spread, free_width=False)
    first = rounds.round(Surroundings.of(spread, terraces)[0], 0.0)
    second = rounds.round(first.surroundings, 0.0)
    assert second.cost > first.cost
    assert first.chi_square == pytest.approx(1.0, abs=0.05)
    assert rounds.count == 2


def test_a_scan_that_nothing_explains_is_not_called_converged(spread, scan):
    bright = replace(scan, data=scan.data * (1 + 0.2 * np.sin(np.arange(40) / 3)).astype(np.float32))
    run = partial(reconstruct, forward="transport", noise=0.01)
    rec = run(bright, spread=kernels())
    assert rec.history[CORRECTION]["status"] == [str(Status.ASTRAY)]
    assert rec.uncertainty.mean() > 1.05 * run(scan, spread=kernels()).uncertainty.mean()


def test_a_field_narrower_than_its_kernels_says_what_is_assumed(scan):
    crop = Scan(scan.data[:, :12, :16], KEV, pixel_nm=10.0, stack=STACK)
    rec = reconstruct(crop, forward="transport", noise=0.01, spread=kernels(3.0))
    assert "leave outside the field" in note(rec.history)
    assert np.isfinite(rec.uncertainty).all()
