"""Scans with faults are mended, or doubted with the cause named; right ones are trusted and left as they are."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from microtomo.inverse.edges import measure_edges
from microtomo.inverse.files import Summary
from microtomo.inverse.noise import estimate_noise
from microtomo.inverse.outliers import reject_outliers
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.materials import load_stack
from microtomo.metrics import voxel_scores
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.scan import Status
from microtomo.seeds import VALIDATION_SEED, Stream
from microtomo.simulate.faults import FAULTS, Recording
from microtomo.simulate.samples import draw_structure
from microtomo.voxels import thickness_to_volume

STACK = load_stack("au-al-si")
MODELS = {name: forward_model(name, STACK) for name in ("material", "transport")}


def recording(forward="material", kind="experimental", noise=0.02):
    place = (VALIDATION_SEED, int(Stream.ROBUSTNESS), 0)
    truth = draw_structure(STACK, kind, *place, 128, 128)
    return Recording(truth, MODELS[forward], Detector(noise=noise), place)


def made(fault, *args, **settings):
    about = recording(*args, **settings)
    return next(f.record for f in FAULTS if f.name == fault)(about), about


def solved(fault, method="map", *args, as_is=False, **settings):
    scan, about = made(fault, *args, **settings)
    return reconstruct(scan, method, forward=about.forward, as_is=as_is), about.thickness


def miou(rec, truth):
    return voxel_scores(rec.volume, thickness_to_volume(truth), ["empty", *STACK.symbols]).miou


@pytest.mark.parametrize("forward", list(MODELS))
@pytest.mark.parametrize("fault", ["none", "gain 2 %", "level -2 %", "vignetting 5 %", "1 % hot pixels"])
def test_map_finds_the_structure_whatever_was_wrong(fault, forward):
    rec, truth = solved(fault, "map", forward)
    assert miou(rec, truth) > 0.98
    assert rec.verdicts[0].trusted
    assert bool(rec.verdicts[0].correction) == (fault in ("gain 2 %", "level -2 %", "vignetting 5 %"))


@pytest.mark.parametrize(
    ("fault", "forward", "causes"),
    [
        ("gain 2 %", "material", {"gain"}),
        ("20 nm of copper on a quarter", "transport", {"unknown material"}),
        ("other forward model", "material", {"forward model"}),
        ("other forward model", "transport", {"forward model"}),
        ("energy offset .3 keV", "material", {"energy offset"}),
        ("silver for gold", "transport", {"stack", "unknown material"}),
    ],
)
def test_a_verdict_names_the_cause(fault, forward, causes):
    rec, _ = solved(fault, "likelihood", forward, as_is=True)
    verdict = rec.verdicts[0]
    assert not verdict.trusted
    assert verdict.cause in causes
    assert verdict.residual > verdict.limit
    assert verdict.advice


def test_where_an_unknown_material_lies_is_said():
    rec, _ = solved("20 nm of copper on a quarter", "likelihood", "transport")
    top, bottom, left, right = rec.verdicts[0].where
    assert top <= 5
    assert left <= 5
    assert 55 <= bottom <= 70
    assert 55 <= right <= 70


def test_silver_for_gold_is_not_told_to_raise_max_nm(tmp_path):
    rec, _ = solved("silver for gold", "likelihood", "transport")
    summary = Summary()
    summary.add(rec)
    told = " ".join(summary.warnings())
    assert "raise max_nm" not in told
    assert "do not trust" in told


def test_a_scan_as_it_is_is_left_as_it_is():
    rec, truth = solved("level -2 %", "map", as_is=True)
    assert miou(rec, truth) < 0.6
    assert not rec.verdicts[0].trusted
    assert not rec.verdicts[0].correction


@pytest.mark.parametrize("fault", ["1 % hot values", "1 % hot pixels", "1 % dead pixels"])
def test_hot_and_dead_values_are_found_and_hardly_any_other(fault):
    scan, about = made(fault)
    right, _ = made("none")
    noise = float(estimate_noise(scan[None], about.forward)[0])
    found = reject_outliers(scan, about.forward, noise)
    odd = scan != right
    assert (found.rejected & odd).sum() > 0.95 * odd.sum()
    pixels = (found.rejected & ~odd).all(0).sum()  # a pixel that is lost altogether counts once
    assert pixels < 0.03 * odd[0].numel()
    assert float(((found.signal / right - 1).abs() > 0.5).float().mean()) < 3e-4


def test_a_right_scan_loses_no_value():
    for noise in (0.02, 0.1):
        scan, about = made("none", "material", "perlin", noise=noise)
        assert reject_outliers(scan, about.forward, noise).rejected.sum() <= 2


def test_a_region_that_the_stack_does_not_explain_is_not_rejected():
    scan, about = made("20 nm of copper on a quarter", "transport")
    assert reject_outliers(scan, about.forward, 0.02).rejected.sum() == 0


def test_rejected_pixels_are_counted_mapped_and_have_a_status():
    rec, _ = solved("1 % dead pixels", "likelihood")
    dead = rec.rejected == 31
    assert 0.005 < dead.float().mean() < 0.015
    assert (rec.status[dead] == Status.REJECTED).all()
    assert rec.verdicts[0].rejected == rec.rejected.sum(dtype=torch.long)


def test_edges_tell_a_drift_in_its_direction():
    y, x = np.mgrid[:64, :64]
    image = 1 + 0.5 / (1 + np.exp(-(np.hypot(y - 32, x - 32) - 18)))
    signal = np.repeat(image[None], 31, 0)
    at = np.linspace(-0.5, 0.5, 31)
    grown = [1 + 0.5 / (1 + np.exp(-(np.hypot(y - a * 0.4 - 32, x + a * 0.6 - 32) - 18))) for a in at]
    found = measure_edges(np.stack(grown) / signal - 1, signal, np.ones((64, 64), bool), 0.02)
    assert found.drift_px == pytest.approx([0.4, -0.6], abs=0.02)
    assert abs(found.blur) < 0.1
    still = measure_edges(np.zeros_like(signal), signal, np.zeros((64, 64), bool), 0.02)
    assert still.drift_deviations == 0


def test_a_drift_is_undone():
    rec, truth = solved("drift 1 px", "map")
    assert miou(rec, truth) > 0.985
    assert "drift" in rec.verdicts[0].correction
    drift = rec.history["drift_px"][0]
    assert np.hypot(*drift) == pytest.approx(1, abs=0.1)
    blamed, _ = solved("drift 1 px", "map", as_is=True)
    assert blamed.verdicts[0].cause == "drift"


def test_verdicts_and_rejected_values_are_kept_in_the_file(tmp_path):
    scan, about = made("1 % dead pixels")
    rec = reconstruct(
        torch.stack([scan[:, :32, :32], 1.02 * scan[:, :32, :32]]).numpy(), "likelihood", forward=about.forward
    )
    write_reconstruction(tmp_path / "many.h5", rec)
    back = read_reconstruction(tmp_path / "many.h5")
    assert back.verdicts == rec.verdicts
    assert len(back.verdicts) == 2
    np.testing.assert_array_equal(back.rejected, rec.rejected)
    assert read_reconstruction(tmp_path / "many.h5", slice(1, 2)).verdicts == rec.verdicts[1:]
    old = dataclasses.replace(rec, verdicts=(), rejected=None)
    write_reconstruction(tmp_path / "old.h5", old)
    assert read_reconstruction(tmp_path / "old.h5").verdicts == ()
    summary = Summary()
    summary.add(rec)
    told = json.loads(json.dumps(summary.as_dict()))
    assert told["rejected"] == int(np.asarray(rec.rejected, dtype=int).sum())
    assert len(told["verdicts"]) == 2
