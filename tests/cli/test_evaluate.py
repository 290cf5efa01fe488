"""``microtomo evaluate``: the published protocol, pooled scores and thickness errors against figures by hand."""

import json

import numpy as np
import pytest

from making import STACK, X, Y, make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan
from microtomo.scan import Reconstruction


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluated(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def flat(gold, aluminium, samples=None, **more):
    """A reconstruction with constant maps whose volume follows the published rule, worked out by hand."""
    leading = () if samples is None else (samples,)
    thickness = np.empty((*leading, 2, Y, X), np.float32)
    thickness[..., 0, :, :], thickness[..., 1, :, :] = gold, aluminium
    volume = np.zeros((*leading, 16, Y, X), np.uint8)
    g, a = int(gold // 10), int(aluminium // 10)
    volume[..., :g, :, :] = 1
    volume[..., g : g + a, :, :] = 2
    return make_reconstruction(samples, thickness=thickness, volume=volume, **more)


def test_a_perfect_reconstruction_scores_one(capsys):
    rec = flat(12, 50, uncertainty=np.ones((2, Y, X), np.float32))
    write_reconstruction("out.h5", rec)
    write_scan("scan.h5", make_scan(truth=rec.thickness))
    told = evaluated(capsys, "out.h5", "scan.h5")
    for key in ("miou", "mrecall", "mprecision", "maccuracy", "pooled_miou"):
        assert told[key] == pytest.approx(1)
    assert told["classes"] == ["empty", "Au", "Al"]
    assert told["rmse_nm"] == [0, 0]
    assert told["coverage95"] == [1, 1]


def test_the_scores_are_those_worked_out_by_hand(capsys):
    # By the floor rule, whatever the remainders: truth is 1 voxel Au, 5 Al, 10 empty; found: 1 Au, 3 Al, 12 empty.
    write_reconstruction("out.h5", flat(16, 30))
    write_scan("scan.h5", make_scan(truth=flat(16, 50).thickness))
    told = evaluated(capsys, "out.h5", "scan.h5")
    assert told["iou"] == pytest.approx([10 / 12, 1, 3 / 5], abs=1e-6)
    assert told["miou"] == pytest.approx((10 / 12 + 1 + 3 / 5) / 3, abs=1e-6)
    assert told["recall"] == pytest.approx([1, 1, 3 / 5], abs=1e-6)
    assert told["maccuracy"] == pytest.approx(14 / 16)
    assert told["rmse_nm"] == pytest.approx([0, 20])
    assert told["bias_nm"] == pytest.approx([0, -20])


def test_a_class_that_is_nowhere_is_null_in_json(capsys):
    write_reconstruction("out.h5", flat(0, 30))
    write_scan("scan.h5", make_scan(truth=flat(0, 30).thickness))
    told = evaluated(capsys, "out.h5", "scan.h5")
    assert told["pooled_iou"] == [1, None, 1]


def test_every_kind_of_truth_gives_the_same_scores(capsys):
    rec, truth = make_reconstruction(3), make_scan(3).truth
    write_reconstruction("out.h5", rec)
    write_scan("scan.h5", make_scan(3, truth=truth))
    write_reconstruction("with.h5", make_reconstruction(3, seed=5), truth)
    np.savez("truth.npz", thickness=truth)
    np.save("truth.npy", truth)
    told = [evaluated(capsys, "out.h5", name) for name in ("scan.h5", "with.h5", "truth.npz", "truth.npy")]
    assert all({**t, "truth": ""} == {**told[0], "truth": ""} for t in told)


def test_a_stored_volume_is_the_truth_of_a_reconstruction_like_file(capsys):
    rec = make_reconstruction()
    write_reconstruction("out.h5", rec)
    told = evaluated(capsys, "out.h5", "out.h5")
    assert told["miou"] == pytest.approx(1)


def test_a_part_of_the_samples_is_compared_with_the_same_part(capsys):
    truth = np.concatenate([flat(12, 10 * k).thickness[None] for k in range(1, 6)])
    write_scan("scan.h5", make_scan(5, truth=truth))
    from microtomo.io.reconstructions import new_reconstruction

    with new_reconstruction("out.h5", range(2, 4)) as writer:
        writer.add(flat(12, 30, 1))
        writer.add(flat(12, 40, 1))
    assert evaluated(capsys, "out.h5", "scan.h5")["rmse_nm"] == [0, 0]


def test_the_table_shows_the_scores(capsys):
    write_reconstruction("out.h5", flat(12, 30))
    write_scan("scan.h5", make_scan(truth=flat(12, 50).thickness))
    assert main(["evaluate", "out.h5", "scan.h5"]) == 0
    told = capsys.readouterr().out
    assert "0.8111" in told  # mean IoU
    assert "20.000" in told  # RMSE of aluminium
    assert "accuracy 0.8750" in told


@pytest.mark.real_data
def test_the_reference_case_of_the_metrics(capsys, reference_data):
    """Volumes with published scores: truth and prediction as files."""
    case = np.load(reference_data / "published_sem" / "metric_case.npz", allow_pickle=False)
    for name in ("predicted", "true"):
        volume = case[name]
        maps = np.zeros((len(volume), 2, 16, 16), np.float32)
        pixels = np.zeros((len(volume), 16, 16), np.uint8)
        about = {"method": "map", "stack": STACK, "forward": "published", "noise": 0.02}
        write_reconstruction(f"{name}.h5", Reconstruction(maps, maps, volume, pixels.astype("f4"), pixels, **about))
    told = evaluated(capsys, "predicted.h5", "true.h5")
    assert told["miou"] == pytest.approx(float(case["miou"]), abs=1e-6)
    assert told["mrecall"] == pytest.approx(float(case["mrecall"]), abs=1e-6)
    assert told["maccuracy"] == pytest.approx(float(case["maccuracy"]), abs=1e-6)
    assert told["pooled_iou"] == pytest.approx(case["pooled_iou"], abs=1e-4)


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (np.ones((2, Y, X + 1)), "truth.npy: true thickness is (2, 6, 8) but reconstructed (2, 6, 7)"),
        (np.ones((3, Y, X)), "truth.npy: true thickness is (3, 6, 7)"),
        (np.ones((Y, X)), "truth.npy: thickness has shape (6, 7): maps are (layer, y, x)"),
        (np.full((2, Y, X), -1.0), "truth.npy: thickness has negative or non-finite values"),
        (np.full((2, Y, X), np.nan), "truth.npy: thickness has negative or non-finite values"),
    ],
)
def test_a_truth_that_does_not_fit_is_told(capsys, truth, told):
    write_reconstruction("out.h5", make_reconstruction())
    np.save("truth.npy", truth)
    assert main(["evaluate", "out.h5", "truth.npy"]) == 1
    assert told in capsys.readouterr().err


def test_files_in_the_wrong_place_are_told(capsys):
    write_reconstruction("out.h5", make_reconstruction())
    write_scan("scan.h5", make_scan(truth=None))
    assert main(["evaluate", "scan.h5", "out.h5"]) == 1
    assert "scan.h5: lacks the data set" in capsys.readouterr().err
    assert main(["evaluate", "out.h5", "scan.h5"]) == 1
    assert "scan.h5: lacks the data set /entry/thickness/data, a true thickness" in capsys.readouterr().err
