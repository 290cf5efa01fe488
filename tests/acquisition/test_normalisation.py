"""A normalisation that is wrong is seen and put right; one that is right is left alone."""

import numpy as np
import pytest
import torch

from microtomo.acquisition.normalisation import check_normalisation, shading_of
from microtomo.acquisition.spectra import spectra_of
from microtomo.acquisition.tiles import tiles_of
from microtomo.materials import load_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.seeds import VALIDATION_SEED, Stream
from microtomo.simulate.faults import FAULTS, Recording
from microtomo.simulate.samples import draw_structure

STACK = load_stack("au-al-si")
MODELS = {name: forward_model(name, STACK) for name in ("material", "transport")}
MATERIAL = MODELS["material"]


def scan(fault="none", kind="experimental", forward=MATERIAL, noise=0.02, sample=0):
    """A scan (e, y, x) with a fault, of 128 x 128 pixels."""
    place = (VALIDATION_SEED, int(Stream.ROBUSTNESS), sample)
    truth = draw_structure(STACK, kind, *place, 128, 128)
    record = next(f.record for f in FAULTS if f.name == fault)
    return record(Recording(truth, forward, Detector(noise=noise), place)).numpy()


@pytest.mark.parametrize("forward", ["material", "transport"])
@pytest.mark.parametrize("kind", ["perlin", "experimental", "lithography", "continuous"])
@pytest.mark.parametrize("noise", [0.01, 0.02, 0.1])
def test_a_right_scan_is_left_alone(kind, noise, forward):
    found = check_normalisation(scan(kind=kind, noise=noise, forward=forward_model(forward, STACK)), MODELS[forward])
    assert found.state == "right"
    assert (found.gain == 1).all()
    assert (found.shading == 1).all()


@pytest.mark.parametrize("fault", ["gain 1 %", "gain 5 %", "ramp 2 %", "level +2 %", "level -2 %", "vignetting 5 %"])
@pytest.mark.parametrize("kind", ["perlin", "experimental"])
@pytest.mark.parametrize("forward", ["material", "transport"])
def test_what_a_scan_is_divided_by_is_what_it_was_multiplied_with(fault, kind, forward):
    model = MODELS[forward]
    faulty, right = scan(fault, kind, model), scan("none", kind, model)
    found = check_normalisation(faulty, model)
    assert found.state == "corrected"
    assert "divided by" in found.text
    left = faulty / right / (found.gain[:, None, None] * found.shading)
    assert np.abs(left - 1).mean() < 0.002


def test_a_shading_of_another_shape_is_found_too():
    right = scan()
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    factor = 1 + 0.04 * x - 0.03 * y * x + 0.02 * np.cos(2 * y)
    tiles = tiles_of(right * factor)
    found = shading_of(tiles, spectra_of(MATERIAL), factor.shape)
    assert (found * factor.mean() / factor).std() < 0.002


def test_a_wrong_stack_is_no_gain():
    found = check_normalisation(scan("20 nm of copper on a quarter", forward=MODELS["transport"]), MODELS["transport"])
    assert found.state == "uncertain"
    assert (found.gain == 1).all()
    assert "left as it is" in found.text


def test_too_little_to_judge_by_is_said():
    assert check_normalisation(scan()[:, :12, :12], MATERIAL).state == "unknown"
    few = forward_model("material", STACK.model_copy(update={"energies_kev": STACK.energies_kev[:4]}))
    assert check_normalisation(scan()[:4], few).state == "unknown"
    dark = np.zeros((31, 64, 64), np.float32)
    assert check_normalisation(dark, MATERIAL).state == "unknown"


def test_thickness_alone_explains_no_level():
    """A field without bare substrate is right as it is: nothing is divided by the spectrum of a film."""
    thickness = torch.zeros(2, 64, 64)
    thickness[0], thickness[1, 32:] = 8, 60
    clean = MATERIAL.image(thickness).numpy()
    noisy = clean * (1 + 0.02 * np.random.Generator(np.random.Philox(key=3)).normal(size=clean.shape))
    assert check_normalisation(noisy.astype(np.float32), MATERIAL).state == "right"
