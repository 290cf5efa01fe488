"""Bare substrate: found where it is, refused where there is none."""

import numpy as np
import pytest
import torch

from microtomo.acquisition.substrate import find_substrate, given_substrate
from microtomo.errors import MicrotomoError
from microtomo.materials import load_stack
from microtomo.physics.forward import forward_model
from microtomo.registry import DEFAULT_FORWARD
from microtomo.simulate.structures import make_structure
from recorded import DARK, record

STACK = load_stack("au-al-si")
MODEL = forward_model(DEFAULT_FORWARD, STACK)


@pytest.mark.parametrize("kind", ["perlin", "lithography", "experimental"])
@pytest.mark.parametrize("forward", ["published", "material", "transport"])
def test_the_substrate_is_found_and_tells_the_gain(kind, forward):
    told, gain = record(kind=kind, seeds=(11, 12), forward=forward)
    found = find_substrate(told.images - DARK, forward_model(forward, STACK))
    bare = told.still.truth.sum(0) == 0
    assert bare[found.mask].mean() > 0.9
    assert np.abs(found.gain / gain - 1).max() < 0.004
    assert np.abs(found.gain_error).max() < 0.004
    assert not found.given


def test_a_terrace_of_thin_aluminium_beside_the_substrate_is_not_taken_for_it():
    told, gain = record(size=112, seeds=(1, 2))
    aluminium = told.still.truth[1]
    assert ((told.still.truth[0] == 0) & (aluminium == 30)).mean() > 0.1  # less than 1 % of forward, a quarter of noise
    found = find_substrate(told.images - DARK, MODEL)
    assert (aluminium[found.mask] > 0).mean() < 0.02
    assert found.mask.sum() > 0.6 * (told.still.truth.sum(0) == 0).sum()
    assert np.sqrt(np.mean((found.gain / gain - 1) ** 2)) < 1.5 * found.gain_error.mean()


def test_five_per_cent_of_noise_do_not_hide_the_substrate():
    told, gain = record(noise=0.05, kind="experimental")
    assert np.abs(find_substrate(told.images - DARK, MODEL).gain / gain - 1).max() < 0.008


def covered(least_nm):
    thickness = make_structure(STACK, "perlin", (11, 12), 98, 98)
    thickness[0] = least_nm + thickness[0] * (15 - least_nm) / 15
    return thickness


@pytest.mark.parametrize("least_nm", [1.5, 4])
def test_a_sample_covered_with_gold_has_no_substrate(least_nm):
    told, _ = record(thickness=covered(least_nm))
    with pytest.raises(MicrotomoError, match=r"no substrate is visible: .* --substrate"):
        find_substrate(told.images - DARK, MODEL)


def test_an_image_that_looks_alike_everywhere_tells_nothing():
    told, _ = record(thickness=torch.full((2, 66, 66), 5.0), size=64)
    with pytest.raises(MicrotomoError, match="the whole image looks alike"):
        find_substrate(told.images - DARK, MODEL)


def test_an_image_without_an_even_region_is_told():
    rough = np.random.default_rng(0).uniform(-1, 1, (31, 64, 64))
    with pytest.raises(MicrotomoError, match="no even region was found"):
        find_substrate(rough, MODEL)


def test_a_given_region_is_taken_as_it_is():
    told, gain = record(kind="experimental")
    region = (slice(0, 12), slice(0, 96))
    found = given_substrate(told.images - DARK, *region, MODEL)
    assert found.box == region
    assert found.mask.sum() == 12 * 96
    by_hand = (told.images[:, :12] - DARK).mean((1, 2))
    assert np.allclose(found.gain, by_hand)
    assert np.abs(found.gain / gain - 1).max() < 0.004
    assert found.misfit < 0.006


def test_a_given_region_of_gold_does_not_fit():
    told, _ = record(kind="experimental")
    assert told.still.truth[0, 50:58, 50:58].min() > 10
    assert given_substrate(told.images - DARK, slice(50, 58), slice(50, 58), MODEL).misfit > 0.1


def test_a_region_outside_or_below_dark_is_told():
    told, _ = record(kind="experimental")
    with pytest.raises(MicrotomoError, match="holds no pixel of the 96 x 96 field"):
        given_substrate(told.images - DARK, slice(200, 210), slice(0, 9), MODEL)
    with pytest.raises(MicrotomoError, match="not brighter than the dark level"):
        given_substrate(told.images - 60000.0, slice(0, 9), slice(0, 9), MODEL)
