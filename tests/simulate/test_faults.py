"""Every fault does what its name says, and the same each time."""

import numpy as np
import pytest
import torch

from microtomo.materials import load_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.seeds import VALIDATION_SEED, Stream
from microtomo.simulate.faults import FAULTS, HOT, Recording
from microtomo.simulate.samples import draw_structure

STACK = load_stack("au-al-si")
PLACE = (VALIDATION_SEED, int(Stream.ROBUSTNESS), 3)
BY_NAME = {fault.name: fault for fault in FAULTS}


def recording(noise=0.0):
    truth = draw_structure(STACK, "experimental", *PLACE, 64, 64)
    return Recording(truth, forward_model("material", STACK), Detector(noise=noise), PLACE)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_the_same_each_time_and_changes_the_scan(fault):
    scan, right = fault.record(recording(0.02)), recording(0.02).recorded()
    assert torch.equal(scan, fault.record(recording(0.02)))
    assert scan.shape == right.shape
    assert torch.isfinite(scan).all()
    assert torch.equal(scan, right) == (fault.name == "none")


def ratio(name):
    return (BY_NAME[name].record(recording()) / recording().recorded()).numpy()


def test_gains_levels_and_shadings_are_factors():
    assert ratio("level +2 %") == pytest.approx(1.02, abs=1e-5)
    gain = ratio("gain 5 %")
    assert np.ptp(gain, axis=(1, 2)) == pytest.approx(0, abs=1e-5)
    assert 0.03 < gain[:, 0, 0].std() < 0.08
    ramp = ratio("ramp 2 %")[:, 0, 0]
    assert ramp[0] == pytest.approx(0.99, abs=1e-5)
    assert ramp[-1] == pytest.approx(1.01, abs=1e-5)
    dark = ratio("vignetting 5 %")
    assert dark[:, 0, 0] == pytest.approx(0.95, abs=1e-5)
    assert dark[:, 32, 32] == pytest.approx(1, abs=1e-3)


def test_hot_and_dead_pixels_are_as_many_as_they_say():
    hot = BY_NAME["1 % hot pixels"].record(recording()) == HOT
    assert (hot.all(0) == hot.any(0)).all()
    assert 0.004 < hot[0].float().mean() < 0.02
    assert 0.008 < (BY_NAME["1 % hot values"].record(recording()) == HOT).float().mean() < 0.012


def test_a_drift_leaves_the_middle_image_and_moves_the_others_apart():
    about = recording()
    drifted, still = BY_NAME["drift 1 px"].record(about), about.recorded()
    assert torch.equal(drifted[15], still[15])
    assert (drifted[0] != still[0]).any()
