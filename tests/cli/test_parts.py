"""Regions, masks and many scans: what is left out stays out, and an interrupted run ends in the same bytes."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from making import STACK, E, X, Y, make_scan
from microtomo import simulate_scan
from microtomo.cli.app import main
from microtomo.inverse.batches import reconstruct_files, scans_of
from microtomo.inverse.evaluation import evaluate
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.reconstructions import read_reconstruction
from microtomo.io.scans import read_scan, write_scan
from microtomo.scan import Status


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def simulated(seed=1, height=10, width=12):
    truth = np.zeros((2, height, width), np.float32)
    truth[0, :, width // 2 :] = 10
    truth[1, height // 2 :] = 60
    return simulate_scan(STACK, truth, forward="published", noise=0.01, seed=seed)


def test_pixels_that_a_mask_leaves_out_have_no_value_and_do_not_count(folder):
    scan, mask = simulated(), np.ones((10, 12), bool)
    mask[2:5, 3:9] = False
    scan.data[:, 3, 4] = 40.0  # a speck of dust that would be refused or fitted badly
    rec = reconstruct(scan.masked(mask), "likelihood", noise=0.01)
    assert np.isnan(rec.thickness[:, ~mask]).all()
    assert (rec.status[~mask] == Status.MASKED).all()
    assert (rec.volume[:, ~mask] == 0).all()
    assert np.isfinite(rec.thickness[:, mask]).all()
    alone = reconstruct(scan, "likelihood", noise=0.01)
    np.testing.assert_allclose(rec.thickness[:, mask], alone.thickness[:, mask], atol=1e-3)
    scores = evaluate(rec, scan)
    assert max(scores.thickness.rmse_nm) < 20
    assert "masked" in rec.summary()


def test_only_whole_pixels_may_be_left_out():
    scan = simulated()
    scan.data[3, 2, 2] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        reconstruct(scan, "likelihood", noise=0.01)
    with pytest.raises(ValueError, match="every pixel is left out"):
        reconstruct(scan.masked(np.zeros((10, 12), bool)), "likelihood", noise=0.01)


def test_region_and_mask_on_the_command_line(folder, capsys):
    write_scan("scan.h5", simulated())
    Image.fromarray(np.pad(np.full((10, 6), 255, np.uint8), ((0, 0), (6, 0)))).save("mask.png")
    words = ["reconstruct", "scan.h5", "--method", "likelihood", "--noise", "0.01"]
    assert main([*words, "-o", "part.h5", "--roi", "2:8,4:12", "--mask", "mask.png"]) == 0
    rec = read_reconstruction("part.h5")
    assert rec.thickness.shape == (2, 6, 8)
    assert np.isnan(rec.thickness[..., :2]).all()
    assert np.isfinite(rec.thickness[..., 2:]).all()
    assert rec.history["roi"] == {"rows": [2, 8], "columns": [4, 12]}
    capsys.readouterr()
    assert main(["evaluate", "part.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rmse_nm"][1] < 20
    for flags, told in (
        (["--roi", "2:80,0:4"], "region of interest 2:80,0:4 is empty or reaches beyond the 10 x 12 pixels"),
        (["--roi", "5:5,0:4"], "is empty"),
        (["--roi", "a"], "--roi a: not understood"),
        (["--substrate", "0:100,0:4"], "substrate region 0:100,0:4 is empty or reaches beyond"),
        (["--mask", "small.npy"], "the mask is 3 x 3 pixels but the images are 10 x 12"),
    ):
        np.save("small.npy", np.ones((3, 3)))
        assert main([*words, "-o", "b.h5", *flags]) == 1
        assert told in capsys.readouterr().err


def test_many_scans_go_into_a_folder_and_a_second_run_ends_in_the_same_bytes(folder, capsys):
    for k in (1, 2, 10):
        write_scan(f"scan{k}.h5", simulated(k))
    words = ["reconstruct", "scan*.h5", "-o", "out", "--method", "likelihood", "--noise", "0.01"]
    assert main([*words, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["output"] for t in told] == ["out/scan1.h5", "out/scan2.h5", "out/scan10.h5"]
    before = {p.name: p.read_bytes() for p in Path("out").glob("*.h5")}
    Path("out/scan2.h5").unlink()
    assert main(words) == 0
    assert "2 of 3 were there already" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in Path("out").glob("*.h5")} == before
    write_scan("scan1.h5", simulated(7))  # another scan under the name: its result is made anew
    assert main(words) == 0
    assert "2 of 3 were there already" in capsys.readouterr().err
    assert Path("out/scan1.h5").read_bytes() != before["scan1.h5"]
    assert main([*words, "--set", "jump=1"]) == 1
    assert main([*words[:-1], "0.02"]) == 1
    assert "holds a reconstruction with other settings (noise)" in capsys.readouterr().err


def test_an_interrupted_run_keeps_what_is_whole_and_goes_on(folder):
    for k in (1, 2, 3):
        write_scan(f"scan{k}.h5", simulated(k))
    paths = scans_of(["scan*.h5"])
    settings = {"noise": 0.01, "options": {}}
    for _, target, _ in reconstruct_files(paths, "whole", "likelihood", **settings):
        assert target.exists()
    run = reconstruct_files(paths, "cut", "likelihood", **settings)
    next(run)
    run.close()  # as an interrupt does
    assert [p.name for p in Path("cut").glob("*.h5")] == ["scan1.h5"]
    outcomes = [outcome for _, _, outcome in reconstruct_files(paths, "cut", "likelihood", **settings)]
    assert [outcome is None for outcome in outcomes] == [True, False, False]
    for path in paths:
        assert Path("cut", path.name).read_bytes() == Path("whole", path.name).read_bytes()


def test_a_scan_that_fails_does_not_stop_the_others(folder, capsys):
    write_scan("a.h5", simulated())
    Path("b.h5").write_bytes(b"nothing")
    assert main(["reconstruct", "a.h5", "b.h5", "-o", "out", "--method", "likelihood", "--noise", "0.01"]) == 1
    out, err = capsys.readouterr()
    assert "written to out/a.h5" in out
    assert "b.h5: is no HDF5 file" in err
    assert "1 of 2 scans could not be reconstructed" in err


def test_names_that_would_collide_are_refused(folder):
    np.save("a.npy", make_scan().data)
    write_scan("a.h5", make_scan())
    with pytest.raises(ValueError, match="results would collide"):
        scans_of(["a.npy", "a.h5"])
    with pytest.raises(ValueError, match="no such file"):
        scans_of(["none*.h5"])


def test_nothing_is_written_over_without_force(folder, capsys):
    write_scan("scan.h5", make_scan())
    Path("old.png").write_text("precious")
    Path("old.h5").write_text("precious")
    for words in (
        ["render", "scan.h5", "-o", "old.png", "--figure", "scan"],
        ["reconstruct", "scan.h5", "-o", "old.h5"],
        ["signal", "au-al-si", "-o", "old.png"],
        ["import", "scan.h5", "-o", "old.h5"],
    ):
        assert main(words) == 1
        assert "is there already: add --force to write over it" in capsys.readouterr().err
    assert Path("old.png").read_text() == Path("old.h5").read_text() == "precious"
    assert main(["render", "scan.h5", "-o", "old.png", "--figure", "scan", "--force"]) == 0
    assert Path("old.png").read_bytes().startswith(b"\x89PNG")
    for words in (["reconstruct", "scan.h5", "-o", "a.txt"], ["import", "scan.h5", "-o", "a.txt"]):
        assert main(words) == 1
        assert "is written as .h5 or .hdf5 or .nxs" in capsys.readouterr().err


def test_raw_counts_point_to_import(folder, capsys):
    write_scan("raw.h5", simulated().__class__(20000 * simulated().data, simulated().energies_kev, stack=STACK))
    assert main(["reconstruct", "raw.h5", "-o", "a.h5", "--forward", "published", "--noise", "0.02"]) == 1
    assert "looks like raw counts: run `microtomo import`" in capsys.readouterr().err


def recorded(folder, name):
    scan = simulated(height=40, width=48)
    counts = (1000 * np.asarray(scan.data)).astype(np.uint16)
    for energy, image in zip(scan.energies_kev, counts, strict=True):
        tifffile.imwrite(folder / name.format(kev=f"{energy:g}".replace(".", ",")), image)
    return scan, counts


IMPORT = ["import", "frames", "-o", "scan.h5", "--no-register", "--substrate", "0:18,0:20", "--contrast", "published"]


def test_import_takes_a_pattern_a_region_and_a_mask_and_leaves_out_what_is_no_image(folder, capsys):
    (folder / "frames").mkdir()
    _, counts = recorded(folder / "frames", "a_{kev}_x.tif")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save("frames/a_mask.png")
    Image.fromarray(np.pad(np.full((40, 24), 1, np.uint8), ((0, 0), (24, 0)))).save("half.png")
    words = [*IMPORT, "--energy-pattern", "a_{kev}_*", "--roi", "10:40,20:48", "--mask", "half.png"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(words) == 0
    err = capsys.readouterr().err
    assert "warning: frames: left out a_mask.png, which no microscope recorded" in err
    assert "energies: 5, 6, 7," in err
    assert ", 34, 35 keV" in err
    part = read_scan("scan.h5")
    assert part.shape == (E, 30, 28)
    assert np.isnan(part.data[:, :, :4]).all()
    expected = (counts / counts[:, :18, :20].mean((1, 2), keepdims=True))[:, 10:40, 24:48]
    np.testing.assert_allclose(part.data[:, :, 4:], expected, rtol=1e-5)
    Path("frames/a_mask.png").unlink()
    assert main([*IMPORT, "--substrate", "0:50,0:9", "--energy-pattern", "a_{kev}_*", "--force"]) == 1
    assert "substrate region 0:50,0:9 is empty or reaches beyond the 40 x 48 pixels" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_import_reads_arrays(folder, capsys, kind):
    scan = simulated(height=40, width=48)
    counts = (1000 * np.asarray(scan.data)).astype(np.uint16)
    if kind == "npy":
        np.save("frames.npy", counts)
    else:
        np.savez("frames.npz", data=counts, energies_kev=np.array(scan.energies_kev))
    energies = ["--energies", "5:35"] if kind == "npy" else []
    assert main(["import", f"frames.{kind}", *IMPORT[2:], *energies]) == 0
    assert read_scan("scan.h5").shape == counts.shape


def test_the_shapes_of_the_fixture():
    assert make_scan().shape == (E, Y, X)
