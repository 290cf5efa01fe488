"""``microtomo reconstruct`` around a stand-in for the solver: options, streaming, sentences."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from making import STACK, X, Y, make_data_set, make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.cli.options import parse_energies, parse_setting
from microtomo.errors import MicrotomoError
from microtomo.inverse.files import reconstruct_file
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.io.scans import read_truth, write_scan
from microtomo.materials import ENERGIES_KEV


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, arguments, told):
    assert main(["reconstruct", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err


def test_one_scan_gives_one_reconstruction(folder, solver, capsys):
    scan = make_scan()
    write_scan("scan.h5", scan)
    assert main(["reconstruct", "scan.h5", "--method", "map", "-o", "out.h5"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("map (published): 83.3% ok, 16.7% out of range; mean chi-square 1.00; noise 2.0%; 0.50 s")
    assert err.startswith("warning: 16.7% of the pixels: thickness at the end of its range")
    rec = read_reconstruction("out.h5")
    assert np.array_equal(rec.thickness, scan.data[:2] * 10)
    assert rec.stack == STACK
    assert np.array_equal(read_truth("out.h5").thickness, scan.truth)
    assert rec.history["input"] == "scan.h5"
    assert rec.history["input_sha256"] == hashlib.sha256((folder / "scan.h5").read_bytes()).hexdigest()


def test_json_is_one_object(folder, solver, capsys):
    write_scan("scan.h5", make_scan(3))
    assert main(["reconstruct", "scan.h5", "-o", "out.h5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == "out.h5"
    assert told["samples"] == 3
    assert told["status"]["out_of_range"] == pytest.approx(1 / 6)
    assert told["forward"] == "published"


def test_many_samples_go_through_in_batches(folder, solver, capsys):
    scan = make_scan(5)
    make_data_set(folder, scan)
    assert main(["reconstruct", ".", "-o", "out.h5", "--batch", "2"]) == 0
    assert [len(call["scan"].data) for call in solver] == [2, 2, 1]
    rec = read_reconstruction("out.h5")
    assert np.array_equal(rec.thickness, scan.data[:, :2] * 10)
    assert rec.history["samples"] == [0, 1, 2, 3, 4]
    assert rec.seconds == 1.5


def test_the_batch_follows_the_size_of_a_sample(folder, solver):
    write_scan("scan.h5", make_scan(5))
    reconstruct_file("scan.h5", "out.h5", "map", batch_bytes=2.5 * 31 * Y * X * 4)
    assert [len(call["scan"].data) for call in solver] == [2, 2, 1]


@pytest.mark.parametrize(("text", "numbers"), [("1:3", [1, 2]), ("4", [4]), (":2", [0, 1]), ("3:", [3, 4])])
def test_a_part_of_the_samples(folder, solver, text, numbers):
    scan = make_scan(5)
    write_scan("scan.h5", scan)
    assert main(["reconstruct", "scan.h5", "-o", "out.h5", "--samples", text]) == 0
    rec = read_reconstruction("out.h5")
    assert rec.history["samples"] == numbers
    assert np.array_equal(rec.thickness, scan.data[numbers][:, :2] * 10)
    assert np.array_equal(read_truth("out.h5").thickness, scan.truth[numbers])


@pytest.mark.parametrize(
    ("flags", "in_file", "used"),
    [([], "published", "published"), (["--contrast", "material"], "published", "material"), ([], None, "transport")],
)
def test_contrast_is_the_flag_then_the_file_then_the_default(folder, solver, flags, in_file, used):
    write_scan("scan.h5", make_scan(forward=in_file))
    assert main(["reconstruct", "scan.h5", "-o", "out.h5", *flags]) == 0
    assert solver[0]["forward"] == used


def test_noise_is_the_flag_else_estimated(folder, solver):
    write_scan("scan.h5", make_scan(noise=0.02))
    assert main(["reconstruct", "scan.h5", "-o", "out.h5"]) == 0
    assert main(["reconstruct", "scan.h5", "-o", "other.h5", "--noise", "0.05"]) == 0
    assert [call["noise"] for call in solver] == [None, 0.05]


def test_options_of_the_method_are_handed_on(folder, solver):
    write_scan("scan.h5", make_scan())
    settings = ["--set", "weight=2.5", "--set", "passes=3", "--set", "kind=tv", "--set", "on=true"]
    assert main(["reconstruct", "scan.h5", "-o", "out.h5", "--voxel-nm", "5", "--rule", "centre", *settings]) == 0
    call = solver[0]
    assert (call["weight"], call["passes"], call["kind"], call["on"]) == (2.5, 3, "tv", True)
    assert (call["voxel_nm"], call["rule"]) == (5.0, "centre")


def test_an_array_without_energies_says_what_it_takes(folder, solver, capsys):
    np.save("scan.npy", make_scan().data)
    assert main(["reconstruct", "scan.npy", "-o", "out.h5", "--stack", "au-al-si"]) == 0
    assert "note: scan.npy says no energies: 5..35 keV are taken from stack au-al-si" in capsys.readouterr().err
    np.save("three.npy", make_scan().data[:3])
    assert main(["reconstruct", "three.npy", "-o", "three.h5", "--stack", "au-al-si", "--energies", "5:9:2"]) == 0
    assert solver[1]["scan"].energies_kev == (5.0, 7.0, 9.0)
    assert "note" not in capsys.readouterr().err


def test_a_scan_can_be_normalised_to_a_region_of_substrate(folder, solver):
    scan = make_scan()
    np.save("counts.npy", scan.data * 1000)
    flags = ["--stack", "au-al-si", "--substrate", "0:2,1:4"]
    assert main(["reconstruct", "counts.npy", "-o", "out.h5", *flags]) == 0
    by_hand = scan.data / scan.data[:, 0:2, 1:4].mean((1, 2))[:, None, None]
    assert np.allclose(solver[0]["scan"].data, by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "energies"),
    [
        ("5:35", ENERGIES_KEV),
        ("5:9:2", (5, 7, 9)),
        ("5:8:2", (5, 7)),
        ("1:1.3:0.1", (1, 1.1, 1.2, 1.3)),
        ("5, 7.5,10", (5, 7.5, 10)),
        ("20", (20,)),
    ],
)
def test_energies_are_understood(text, energies):
    assert parse_energies(text) == pytest.approx(energies)


@pytest.mark.parametrize("text", ["", "5:", "5:1", "5:35:0", "5:35:-1", "a,b", "1:2:3:4", "nan:5", "0:1e9"])
def test_energies_not_understood_are_told(text):
    with pytest.raises(MicrotomoError, match="not understood: write 5:35"):
        parse_energies(text)


@pytest.mark.parametrize("text", ["weight", "=3", "a-b=3", "a b=3"])
def test_settings_not_understood_are_told(text):
    with pytest.raises(MicrotomoError, match="write --set key=value"):
        parse_setting(text)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--energies", "5000:35000:1000"], "look like eV: give them in keV"),
        (["--energies", "5:34"], "scan.h5: scan has 31 energies, there are 30 (5..34 keV): pass --energies"),
        (["--samples", "0:1"], "scan.h5: is a single scan without a sample axis"),
        (["--samples", "some"], "--samples some: not understood"),
        (["--substrate", "0:2"], "--substrate 0:2: not understood"),
        (["--substrate", "90:99,0:2"], "scan.h5: the substrate region"),
        (["--stack", "al-si-au"], "unknown stack 'al-si-au'"),
        (["--pixel-nm", "0"], "--pixel-nm 0: must be a positive size in nm"),
        (["--voxel-nm", "-1"], "--voxel-nm -1: must be a positive size in nm"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["-o", "missing/out.h5"], "missing is no folder: create it"),
        (["-o", "."], "is not empty and holds no reconstruction"),
        (["-o", "scan.h5"], "scan.h5: is the input itself"),
    ],
)
def test_bad_options_are_told(folder, solver, capsys, flags, told):
    write_scan("scan.h5", make_scan())
    before = (folder / "scan.h5").read_bytes()
    refused(capsys, ["scan.h5", "-o", "out.h5", *flags], told)
    assert solver == []
    assert [path.name for path in folder.iterdir()] == ["scan.h5"]
    assert (folder / "scan.h5").read_bytes() == before


def test_cuda_without_a_gpu_is_told(folder, solver, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_scan("scan.h5", make_scan())
    refused(capsys, ["scan.h5", "-o", "out.h5", "--device", "cuda"], "--device cuda: PyTorch sees no GPU")


def test_bad_files_are_told(folder, solver, capsys):
    (folder / "text.h5").write_text("not HDF5")
    refused(capsys, ["text.h5", "-o", "out.h5"], "text.h5: is no HDF5 file")
    refused(capsys, ["nowhere.h5", "-o", "out.h5"], "nowhere.h5: no such file")
    write_scan("half.h5", make_scan())
    (folder / "half.h5").write_bytes((folder / "half.h5").read_bytes()[:3000])
    refused(capsys, ["half.h5", "-o", "out.h5"], "half.h5: is cut off")
    write_scan("lost.h5", make_scan())
    with h5py.File("lost.h5", "r+") as file:
        del file["entry/data/data"]
    refused(capsys, ["lost.h5", "-o", "out.h5"], "lost.h5: lacks the data set /entry/data/data")
    write_reconstruction("rec.h5", make_reconstruction())
    refused(capsys, ["rec.h5", "-o", "out.h5"], "rec.h5: holds a reconstruction, not a scan")
    np.save("zero.npy", np.ones((31, 0, 5)))
    refused(capsys, ["zero.npy", "-o", "out.h5"], "zero.npy: the scan is empty")
    np.save("thirty.npy", make_scan().data[:30])
    refused(capsys, ["thirty.npy", "-o", "out.h5"], "thirty.npy: scan has 30 energies")
    assert not (folder / "out.h5").exists()


def test_what_the_solver_refuses_names_the_file(folder, solver, capsys, monkeypatch):
    def refuse(*_, **__):
        raise MicrotomoError("3 of 1302 values are NaN")

    monkeypatch.setattr("microtomo.inverse.files.reconstruct", refuse)
    write_scan("scan.h5", make_scan())
    refused(capsys, ["scan.h5", "-o", "out.h5"], "scan.h5: 3 of 1302 values are NaN")
    assert [path.name for path in folder.iterdir()] == ["scan.h5"]
