"""Scans and reconstructions on disk: what goes out comes back, and other programs read it."""

import json
import subprocess

import h5py
import numpy as np
import pytest
import tifffile
import torch

from making import STACK, E, X, Y, make_data_set, make_reconstruction, make_scan, refused
from microtomo.io.reconstructions import new_reconstruction, read_reconstruction, write_reconstruction
from microtomo.io.scans import iter_scans, read_scan, read_truth, write_scan
from microtomo.io.sources import open_scan
from microtomo.materials import ENERGIES_KEV
from microtomo.scan import Scan

# --- round trips ---


@pytest.mark.parametrize("samples", [None, 3])
def test_a_scan_comes_back_as_it_was(tmp_path, samples):
    scan = make_scan(samples, history={"seed": 7})
    write_scan(tmp_path / "scan.h5", scan)
    back = read_scan(tmp_path / "scan.h5")
    assert np.array_equal(back.data, scan.data)
    assert back.data.dtype == np.float32
    assert np.array_equal(back.truth, scan.truth)
    assert (back.energies_kev, back.pixel_nm, back.stack) == (ENERGIES_KEV, 4.0, STACK)
    assert (back.forward, back.noise, back.history) == ("published", 0.02, {"seed": 7})


def test_a_tensor_in_double_precision_keeps_it(tmp_path):
    scan = make_scan()
    write_scan(tmp_path / "scan.h5", Scan(torch.from_numpy(scan.data).double() / 3, ENERGIES_KEV))
    back = read_scan(tmp_path / "scan.h5")
    assert back.data.dtype == np.float64
    assert np.array_equal(back.data, scan.data.astype(float) / 3)
    assert (back.stack, back.forward, back.noise, back.truth) == (None, None, None, None)


@pytest.mark.parametrize("samples", [None, 2])
def test_a_reconstruction_comes_back_as_it_was(tmp_path, samples):
    rec = make_reconstruction(samples)
    write_reconstruction(tmp_path / "out.h5", rec)
    back = read_reconstruction(tmp_path / "out.h5")
    for name in ("thickness", "uncertainty", "volume", "chi_square", "status"):
        assert np.array_equal(getattr(back, name), getattr(rec, name)), name
    assert (back.method, back.stack, back.forward, back.noise) == ("map", STACK, "published", 0.03)
    assert (back.voxel_nm, back.pixel_nm, back.seconds) == (10.0, 4.0, 1.5)


def test_a_reconstruction_written_in_batches_equals_one_written_at_once(tmp_path):
    rec = make_reconstruction(5, seconds=5.0)
    with new_reconstruction(tmp_path / "parts.h5", range(10, 15), input="scan.h5") as writer:
        for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
            arrays = ("thickness", "uncertainty", "volume", "chi_square", "status")
            writer.add(make_reconstruction(5, seconds=1.0, **{n: getattr(rec, n)[part] for n in arrays}))
            assert not (tmp_path / "parts.h5").exists()
    back = read_reconstruction(tmp_path / "parts.h5")
    assert np.array_equal(back.thickness, rec.thickness)
    assert np.array_equal(back.status, rec.status)
    assert back.history["samples"] == [10, 11, 12, 13, 14]
    assert back.history["input"] == "scan.h5"
    assert back.seconds == 3.0
    assert np.array_equal(read_reconstruction(tmp_path / "parts.h5", slice(1, 3)).volume, rec.volume[1:3])


def test_truth_is_read_from_scan_reconstruction_and_arrays(tmp_path):
    scan, rec = make_scan(3), make_reconstruction(3)
    write_scan(tmp_path / "scan.h5", scan)
    assert np.array_equal(read_truth(tmp_path / "scan.h5", slice(1, 3)).thickness, scan.truth[1:3])
    write_reconstruction(tmp_path / "with.h5", rec, scan.truth)
    assert np.array_equal(read_truth(tmp_path / "with.h5").thickness, scan.truth)
    write_reconstruction(tmp_path / "without.h5", rec)
    assert np.array_equal(read_truth(tmp_path / "without.h5").thickness, rec.thickness)
    assert np.array_equal(read_truth(tmp_path / "without.h5").volume, rec.volume)
    np.savez(tmp_path / "truth.npz", scan_published=scan.data, thickness_nm=scan.truth)
    assert np.array_equal(read_truth(tmp_path / "truth.npz").thickness, scan.truth)
    np.save(tmp_path / "truth.npy", scan.truth)
    assert np.array_equal(read_truth(tmp_path / "truth.npy").thickness, scan.truth)


# --- other programs ---


@pytest.mark.parametrize("samples", [None, 2])
def test_silx_opens_the_default_data(tmp_path, samples):
    nxdata = pytest.importorskip("silx.io.nxdata")
    scan, rec = make_scan(samples), make_reconstruction(samples)
    write_scan(tmp_path / "scan.h5", scan)
    write_reconstruction(tmp_path / "out.h5", rec, scan.truth)
    leading = [] if samples is None else ["sample"]
    with h5py.File(tmp_path / "scan.h5") as file:
        default = nxdata.get_default(file)
        assert default.is_valid
        assert np.array_equal(default.signal[()], scan.data)
        assert default.axes_dataset_names == [*leading, "energy", "y", "x"]
        assert default.interpretation == "image"
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(nxdata.get_default(file).signal[()], rec.thickness)
        for group, axes in {
            "thickness": "layer y x",
            "uncertainty": "layer y x",
            "volume": "z y x",
            "fit": "y x",
        }.items():
            data = nxdata.NXdata(file["entry"][group])
            assert data.is_valid, data.issues
            assert data.axes_dataset_names == [*leading, *axes.split()]
        assert np.array_equal(nxdata.NXdata(file["entry/fit"]).auxiliary_signals[0][()], rec.status)


@pytest.mark.parametrize("samples", [None, 2])
def test_rosettasciio_loads_the_default_data(tmp_path, samples):
    nexus = pytest.importorskip("rsciio.nexus")
    scan, rec = make_scan(samples), make_reconstruction(samples)
    write_scan(tmp_path / "scan.h5", scan)
    write_reconstruction(tmp_path / "out.h5", rec)
    (loaded,) = nexus.file_reader(str(tmp_path / "scan.h5"), use_default=True)
    assert np.array_equal(loaded["data"], scan.data)
    axes = {axis["name"]: axis for axis in loaded["axes"]}
    assert (axes["energy"]["offset"], axes["energy"]["scale"], axes["energy"]["units"]) == (5.0, 1.0, "keV")
    assert (axes["x"]["scale"], axes["x"]["units"]) == (4.0, "nm")
    (loaded,) = nexus.file_reader(str(tmp_path / "out.h5"), use_default=True)
    assert np.array_equal(loaded["data"], rec.thickness)


def test_the_layout_is_the_documented_one(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan(2, history={"seed": 1}))
    write_reconstruction(tmp_path / "out.h5", make_reconstruction(2))
    with h5py.File(tmp_path / "scan.h5") as file:
        assert dict(file.attrs) == {"NX_class": "NXroot", "default": "entry"}
        entry, group = file["entry"], file["entry/data"]
        assert (entry.attrs["NX_class"], entry.attrs["default"]) == ("NXentry", "data")
        assert entry.attrs["microtomo_version"] == "0.1.0"
        assert json.loads(entry.attrs["config"]) == {"seed": 1}
        assert json.loads(entry.attrs["stack"])["name"] == "au-al-si"
        assert list(group.attrs["axes"]) == ["sample", "energy", "y", "x"]
        assert [group.attrs[f"{a}_indices"] for a in group.attrs["axes"]] == [0, 1, 2, 3]
        assert group.attrs["interpretation"] == group["data"].attrs["interpretation"] == "image"
        assert group["data"].attrs["units"] == ""
        assert group["data"].chunks == (1, E, Y, X)
        assert group["energy"].attrs["units"] == "keV"
        assert group["x"].attrs["units"] == "nm"
        assert list(group["x"][()]) == [4.0 * i for i in range(X)]
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["entry/volume/data"].dtype == np.uint8
        assert file["entry/thickness/data"].attrs["units"] == "nm"
        status = file["entry/fit/status"]
        assert list(status.attrs["names"]) == ["ok", "poor_fit", "out_of_range", "not_converged", "masked", "rejected"]
        assert "raise max_nm" in status.attrs["meanings"][2]


# --- other kinds of files ---


def test_arrays_are_read_with_their_energies(tmp_path):
    data = make_scan().data
    np.save(tmp_path / "scan.npy", data[:3])
    back = read_scan(tmp_path / "scan.npy", energies_kev=(5.0, 10.0, 20.0), pixel_nm=2.0)
    assert np.array_equal(back.data, data[:3])
    assert (back.energies_kev, back.pixel_nm) == ((5.0, 10.0, 20.0), 2.0)
    np.savez(tmp_path / "scan.npz", data=data[:2], energy=np.array([6.0, 8.0]), other=data)
    back = read_scan(tmp_path / "scan.npz")
    assert np.array_equal(back.data, data[:2])
    assert back.energies_kev == (6.0, 8.0)
    np.savez(tmp_path / "only.npz", whatever=data, energies_kev=np.arange(5, 36))
    assert np.array_equal(read_scan(tmp_path / "only.npz").data, data)


def test_an_array_without_energies_takes_those_of_the_stack(tmp_path):
    np.save(tmp_path / "scan.npy", make_scan().data)
    back = read_scan(tmp_path / "scan.npy", stack="au-al-si")
    assert back.energies_kev == ENERGIES_KEV
    assert "taken from the stack" in back.history["energies_kev"]


@pytest.mark.parametrize("dtype", ["u1", "u2", ">i2", "f2", ">f4"])
def test_numbers_of_any_kind_become_native_floats(tmp_path, dtype):
    data = np.arange(2 * Y * X).reshape(2, Y, X).astype(dtype)
    np.save(tmp_path / "scan.npy", data)
    back = read_scan(tmp_path / "scan.npy", energies_kev=(5.0, 6.0))
    assert back.data.dtype == np.dtype("=f4")
    assert np.array_equal(back.data, np.arange(2 * Y * X).reshape(2, Y, X))


def test_a_tiff_stack_is_read(tmp_path):
    data = make_scan(2).data
    tifffile.imwrite(tmp_path / "scan.tif", data[0], photometric="minisblack")
    assert np.array_equal(read_scan(tmp_path / "scan.tif").data, data[0])
    tifffile.imwrite(tmp_path / "many.tiff", data, photometric="minisblack")
    assert np.array_equal(read_scan(tmp_path / "many.tiff").data, data)
    tifffile.imwrite(tmp_path / "one.tif", data[0, 0])
    assert read_scan(tmp_path / "one.tif", energies_kev=(5.0,)).shape == (1, Y, X)


def test_a_folder_of_tiffs_is_sorted_by_the_energies_in_the_names(tmp_path):
    data = make_scan().data
    for name, image in zip(("a_20keV.tif", "b_5.5 keV.tif", "c_10kev.TIF", "d_7000eV.tiff"), data, strict=False):
        tifffile.imwrite(tmp_path / name, image)
    (tmp_path / "notes.txt").write_text("not an image")
    back = read_scan(tmp_path)
    assert back.energies_kev == (5.5, 7.0, 10.0, 20.0)
    assert np.array_equal(back.data, data[[1, 3, 2, 0]])


def test_a_folder_of_numbered_tiffs_is_in_natural_order(tmp_path):
    data = make_scan().data[:12]
    for i, image in enumerate(data):
        tifffile.imwrite(tmp_path / f"image{i}.tif", image)
    back = read_scan(tmp_path, energies_kev=tuple(range(5, 17)))
    assert np.array_equal(back.data, data)


def test_foreign_hdf5_is_read_by_its_default_or_its_only_data_set(tmp_path):
    data = make_scan().data[:3]
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["a/b/images"] = data
        file["a/b/energy"] = [5000.0, 6000.0, 7000.0]
        file["a/b/energy"].attrs["units"] = "eV"
        file["a/mask"] = np.zeros((Y, X))
    back = read_scan(tmp_path / "plain.h5")
    assert np.array_equal(back.data, data)
    assert back.energies_kev == (5.0, 6.0, 7.0)
    with h5py.File(tmp_path / "nexus.nxs", "w") as file:
        file.attrs["default"] = "run"
        run = file.create_group("run")
        run.attrs["default"] = b"sem"
        sem = run.create_group("sem")
        sem.attrs.update({"signal": "counts", "axes": ["beam", "row", "column"]})
        sem["counts"], sem["dark"], sem["beam"] = data, data, [5.0, 6.0, 7.0]
        for name, size in (("row", Y), ("column", X)):
            sem[name] = np.arange(size) * 0.02
            sem[name].attrs["units"] = "um"
    back = read_scan(tmp_path / "nexus.nxs")
    assert np.array_equal(back.data, data)
    assert back.energies_kev == (5.0, 6.0, 7.0)
    assert back.pixel_nm == pytest.approx(20.0)


def test_a_data_set_is_read_in_parts(tmp_path):
    scan = make_scan(5)
    make_data_set(tmp_path, scan)
    assert np.array_equal(read_scan(tmp_path).data, scan.data)
    assert np.array_equal(read_scan(tmp_path / "index.h5", samples=slice(1, 4)).truth, scan.truth[1:4])
    parts = list(iter_scans(tmp_path, batch=2))
    assert [len(part.data) for part in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate([part.data for part in parts]), scan.data)
    assert np.array_equal(read_truth(tmp_path, slice(3, 5)).thickness, scan.truth[3:5])


def test_a_single_scan_comes_as_one_part_and_has_no_samples_to_choose(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    assert [part.ndim for part in iter_scans(tmp_path / "scan.h5")] == [3]
    refused(tmp_path / "scan.h5", "single scan without a sample axis", samples=slice(0, 2))
    write_scan(tmp_path / "many.h5", make_scan(3))
    refused(tmp_path / "many.h5", "has samples 0 to 2", samples=slice(5, 9))


def test_what_is_given_goes_before_what_the_file_says(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    energies = tuple(10 + 0.5 * i for i in range(E))
    back = read_scan(tmp_path / "scan.h5", energies_kev=energies, pixel_nm=7.0, forward="material")
    assert (back.energies_kev, back.pixel_nm, back.forward) == (energies, 7.0, "material")


def test_a_large_scan_is_mapped_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("microtomo.io.nexus.MAPPED_BYTES", 1)  # what a large scan has
    scan = make_scan()
    write_scan(tmp_path / "scan.h5", scan)
    with open_scan(tmp_path / "scan.h5") as source:
        back = source.read(map_above_bytes=0)
        assert not isinstance(source.read().data, np.memmap)
    assert isinstance(back.data, np.memmap)
    assert np.array_equal(back.data, scan.data)


def test_the_hash_is_that_of_the_file(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    told = subprocess.run(["sha256sum", tmp_path / "scan.h5"], capture_output=True, text=True, check=True).stdout
    with open_scan(tmp_path / "scan.h5") as source:
        assert source.sha256() == told.split()[0]
