"""Recorded stacks for the tests: a sample with bare substrate in view, seen by a microscope that drifts."""

import numpy as np

from microtomo.materials import load_stack
from microtomo.physics.detector import Detector
from microtomo.registry import DEFAULT_FORWARD
from microtomo.simulate.microscope import Microscope, random_drift, simulate_acquisition
from microtomo.simulate.structures import make_structure

DARK = 1500.0


def few_energies(*energies):
    return load_stack("au-al-si").model_copy(update={"energies_kev": tuple(float(e) for e in energies)})


def record(
    stack="au-al-si", size=96, drift=None, noise=0.02, counts=20000.0, uneven=0.15, bits=16, kind="perlin",
    seeds=(11, 12), forward=DEFAULT_FORWARD, thickness=None,
):  # fmt: skip
    """An acquisition of ``size`` pixels; ``drift`` is (e, 2) or the step of a random walk, None for none."""
    stack = load_stack(stack) if isinstance(stack, str) else stack
    count = len(stack.energies_kev)
    walk = random_drift(count, drift, 7) if isinstance(drift, int | float) else drift or ((0.0, 0.0),)
    margin = int(np.ceil(np.abs(walk).max())) + 1
    if thickness is None:
        thickness = make_structure(stack, kind, seeds, size + 2 * margin, size + 2 * margin)
    gain = counts * np.exp(np.random.default_rng(3).normal(0, uneven, count))
    detector = Detector(noise=noise, gain=tuple(float(g) for g in gain), offset=(DARK,))
    microscope = Microscope(detector=detector, drift_px=tuple(map(tuple, walk)), bits=bits)
    return simulate_acquisition(stack, thickness, microscope, forward=forward, seed=1, pixel_nm=8.0), gain
