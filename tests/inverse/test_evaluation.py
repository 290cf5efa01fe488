"""Scores of a reconstruction against every form that the truth comes in."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import microtomo
from microtomo.errors import MicrotomoError
from microtomo.io.scans import Truth

STACK = microtomo.load_stack("au-al-si")
THICKNESS = microtomo.make_structure(STACK, "pads", [8, 3], 32, 32)


@pytest.fixture(scope="module")
def scan():
    return microtomo.simulate_scan(STACK, THICKNESS, seed=1)


@pytest.fixture(scope="module")
def rec(scan):
    return microtomo.reconstruct(scan, "likelihood")


def test_scores_are_those_of_voxels_and_thickness(rec):
    scores = microtomo.evaluate(rec, THICKNESS)
    volume = microtomo.thickness_to_volume(THICKNESS, rec.volume.shape[-3])
    assert scores.voxels == microtomo.voxel_scores(rec.volume, volume, ["empty", "Au", "Al"])
    assert scores.thickness == microtomo.thickness_scores(rec.thickness, THICKNESS, rec.uncertainty)
    error = (np.asarray(rec.thickness) - np.asarray(THICKNESS)).astype(float)
    assert scores.thickness.rmse_nm == pytest.approx(np.sqrt((error**2).mean((1, 2))).tolist(), rel=1e-5)
    assert {"method": "likelihood", "layers": ["Au", "Al"]}.items() <= scores.as_dict().items()


FORMS = (
    lambda scan: scan,
    lambda scan: scan.truth,
    lambda scan: np.asarray(scan.truth),
    lambda scan: scan.truth[None],
    lambda scan: Truth(np.asarray(scan.truth), None),
)


@pytest.mark.parametrize("form", FORMS)
def test_truth_may_be_a_scan_a_tensor_an_array_or_what_a_file_holds(scan, rec, form):
    assert microtomo.evaluate(rec, form(scan)).thickness == microtomo.evaluate(rec, THICKNESS).thickness


def test_samples_that_were_reconstructed_are_taken_out_of_more(rec):
    names = ("thickness", "uncertainty", "volume", "chi_square", "status")
    two = replace(
        rec, history={"samples": [2, 0]}, **{n: torch.stack([torch.as_tensor(getattr(rec, n))] * 2) for n in names}
    )
    other = torch.zeros_like(THICKNESS)
    right = microtomo.evaluate(two, torch.stack([THICKNESS, other, THICKNESS]))
    assert right.thickness.rmse_nm == pytest.approx(microtomo.evaluate(rec, THICKNESS).thickness.rmse_nm)
    with pytest.raises(MicrotomoError, match="has 1 samples, the reconstruction is of sample 2"):
        microtomo.evaluate(two, THICKNESS[None])


def test_truth_that_does_not_fit_is_refused(scan, rec):
    with pytest.raises(MicrotomoError, match="compare the same scan"):
        microtomo.evaluate(rec, THICKNESS[:, :16])
    with pytest.raises(MicrotomoError, match=r"maps are \(layer, y, x\)"):
        microtomo.evaluate(rec, THICKNESS[0])
    with pytest.raises(MicrotomoError, match="the scan has no true thickness"):
        microtomo.evaluate(rec, replace(scan, truth=None))
