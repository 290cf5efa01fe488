"""Files that cannot be read: each gets one sentence that names it."""

import contextlib

import h5py
import numpy as np
import pytest
import tifffile

from making import E, X, Y, make_data_set, make_reconstruction, make_scan, refused
from microtomo.errors import MicrotomoError
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.io.scans import read_scan, read_truth, write_scan
from microtomo.materials import ENERGIES_KEV

# --- bad input ---


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "nowhere.h5", "no such file: check the path")


def test_what_is_no_hdf5_is_told(tmp_path):
    (tmp_path / "scan.h5").write_text("energy,signal\n5,1.0\n")
    refused(tmp_path / "scan.h5", "is no HDF5 file")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "is no HDF5 file")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_hdf5_cut_short_is_told(tmp_path, share):
    write_scan(tmp_path / "scan.h5", make_scan())
    cut(tmp_path / "scan.h5", share)
    refused(tmp_path / "scan.h5", "is cut off, its end is missing")
    write_reconstruction(tmp_path / "out.h5", make_reconstruction())
    cut(tmp_path / "out.h5", share)
    with pytest.raises(MicrotomoError, match=r"out\.h5: is cut off"):
        read_reconstruction(tmp_path / "out.h5")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_hdf5_with_zeroed_pages_is_read_or_told_and_never_crashes(tmp_path, place):
    write_scan(tmp_path / "scan.h5", make_scan(3))
    damaged = bytearray((tmp_path / "scan.h5").read_bytes())
    start = int(len(damaged) * place)
    damaged[start : start + 2048] = bytes(2048)
    (tmp_path / "scan.h5").write_bytes(damaged)
    with contextlib.suppress(MicrotomoError):
        assert read_scan(tmp_path / "scan.h5").shape == (3, E, Y, X)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["npy", "npz", "tif", "pages.tif"])
def test_arrays_and_images_cut_short_are_told(tmp_path, kind, share):
    path, data = tmp_path / f"scan.{kind}", make_scan().data
    if kind == "npy":
        np.save(path, data)
    elif kind == "npz":
        np.savez(path, data=data)
    elif kind == "tif":
        tifffile.imwrite(path, data, photometric="minisblack")
    else:
        with tifffile.TiffWriter(path) as writer:
            for image in data:
                writer.write(image, contiguous=False, metadata=None)
    read_scan(path)
    cut(path, share)
    refused(path, "cut off|no NumPy file|images of different sizes")


@pytest.mark.parametrize("lost", ["data/data", "data/energy", "data"])
def test_a_missing_data_set_is_named(tmp_path, lost):
    write_scan(tmp_path / "scan.h5", make_scan())
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        del file[f"entry/{lost}"]
    named = "energy" if lost == "data/energy" else "data/data"
    refused(tmp_path / "scan.h5", f"lacks the data set /entry/(data/)?{named}")


@pytest.mark.parametrize("lost", ["thickness", "uncertainty/data", "volume/data", "fit/status"])
def test_a_reconstruction_without_a_data_set_is_told(tmp_path, lost):
    write_reconstruction(tmp_path / "out.h5", make_reconstruction())
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        del file[f"entry/{lost}"]
    with pytest.raises(MicrotomoError, match=f"out.h5: lacks the data set /entry/{lost}"):
        read_reconstruction(tmp_path / "out.h5")


def test_scan_and_reconstruction_are_not_mixed_up(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan(truth=None))
    write_reconstruction(tmp_path / "out.h5", make_reconstruction())
    refused(tmp_path / "out.h5", "holds a reconstruction, not a scan")
    with pytest.raises(MicrotomoError, match=r"scan\.h5: lacks the data set /entry/thickness/data"):
        read_reconstruction(tmp_path / "scan.h5")
    with pytest.raises(MicrotomoError, match=r"scan\.h5: lacks the data set .* a true thickness"):
        read_truth(tmp_path / "scan.h5")


@pytest.mark.parametrize("shape", [(E,), (E, Y), (2, 2, E, Y, X)])
def test_an_array_of_the_wrong_rank_is_told(tmp_path, shape):
    np.save(tmp_path / "scan.npy", np.ones(shape))
    refused(tmp_path / "scan.npy", r"a scan is \(energy, y, x\) or \(sample, energy, y, x\)")


@pytest.mark.parametrize("shape", [(E, 0, X), (E, Y, 0), (0, E, Y, X)])
def test_an_image_of_size_zero_is_told(tmp_path, shape):
    np.save(tmp_path / "scan.npy", np.ones(shape))
    refused(tmp_path / "scan.npy", "empty")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"], file["energy"] = np.ones(shape), ENERGIES_KEV
    refused(tmp_path / "scan.h5", "empty")


def test_thirty_images_for_thirty_one_energies_are_told(tmp_path):
    np.save(tmp_path / "scan.npy", make_scan().data[:30])
    refused(
        tmp_path / "scan.npy",
        r"scan has 30 energies, stack au-al-si names 31 \(5..35 keV\): pass --energies or trim the scan",
        stack="au-al-si",
    )
    refused(tmp_path / "scan.npy", "scan has 30 energies, .* 31")
    write_scan(tmp_path / "scan.h5", make_scan())
    refused(tmp_path / "scan.h5", "scan has 31 energies, there are 30", energies_kev=tuple(range(5, 35)))


@pytest.mark.parametrize(
    ("energies", "match"),
    [
        ([5000.0, 6000.0, 7000.0], "look like eV"),
        ([7.0, 6.0, 5.0], "must increase strictly"),
        ([5.0, 5.0, 6.0], "must increase strictly"),
        ([5.0, np.nan, 6.0], "finite"),
        ([0.0, 5.0, 6.0], "outside"),
    ],
)
def test_impossible_energies_are_told(tmp_path, energies, match):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"], file["energy"] = make_scan().data[:3], energies
    refused(tmp_path / "scan.h5", match)


def test_no_energies_are_told(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = make_scan().data
    refused(tmp_path / "scan.h5", "pass --energies")
    assert read_scan(tmp_path / "scan.h5", energies_kev=ENERGIES_KEV).shape == (E, Y, X)


def test_colour_images_are_told(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((Y, X, 3), np.uint8), photometric="rgb")
    refused(tmp_path / "rgb.tif", r"colour \(RGB\) image", energies_kev=(5.0,))


def test_images_of_different_sizes_are_told(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "5keV.tif", np.ones((Y, X), np.float32))
    tifffile.imwrite(folder / "6keV.tif", np.ones((Y, X + 1), np.float32))
    with pytest.raises(MicrotomoError, match=r"6keV.tif: is 6 x 8 pixels but 5keV.tif is 6 x 7"):
        read_scan(folder)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(np.ones((Y, X), np.float32))
        writer.write(np.ones((Y + 1, X), np.float32))
    refused(tmp_path / "mixed.tif", "images of different sizes")


def test_a_folder_with_nothing_in_it_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"has neither index.h5 nor TIFF images")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "index.h5").touch()
    refused(tmp_path, "holds the data sets test, train: give one of those")


def test_an_unknown_kind_of_file_is_told(tmp_path):
    (tmp_path / "scan.csv").write_text("1,2,3\n")
    refused(tmp_path / "scan.csv", r"unknown kind of file \.csv: give HDF5")
    (tmp_path / "scan").write_text("1,2,3\n")
    refused(tmp_path / "scan", "unknown kind of file")


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "scan.npy", np.array([{"a": 1}, None], dtype=object))
    refused(tmp_path / "scan.npy", "holds Python objects")
    np.savez(tmp_path / "scan.npz", data=np.array([{"a": 1}, None], dtype=object))
    refused(tmp_path / "scan.npz", "holds Python objects")


def test_what_is_no_number_is_told(tmp_path):
    np.save(tmp_path / "scan.npy", np.ones((E, Y, X), complex))
    refused(tmp_path / "scan.npy", "holds complex128, not numbers")


def test_several_candidates_are_listed(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["first"], file["second"] = make_scan().data, make_scan().data
    refused(tmp_path / "scan.h5", r"which data set is the scan\?.*/first \(31, 6, 7\), /second")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["spectrum"] = np.ones(E)
    refused(tmp_path / "none.h5", "holds no data set with 3 or 4 axes")
    np.savez(tmp_path / "scan.npz", first=make_scan().data, second=make_scan().data)
    refused(tmp_path / "scan.npz", r"which array is meant\?.*first \(31, 6, 7\), second")


def test_pixels_that_are_not_square_are_told(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file["entry/data/x"][...] = np.arange(X) * 8.0
    refused(tmp_path / "scan.h5", "pixels are 4 x 8 nm, not square")


@pytest.mark.parametrize("stack", ["not json", "[1, 2]", '{"name": "x", "substrate": "Unobtainium"}'])
def test_a_spoilt_stack_is_told(tmp_path, stack):
    write_scan(tmp_path / "scan.h5", make_scan())
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file["entry"].attrs["stack"] = stack
    refused(tmp_path / "scan.h5", "attribute stack")


def test_a_missing_shard_is_an_error_not_zeros(tmp_path):
    make_data_set(tmp_path, make_scan(5))
    (tmp_path / "shard1.h5").unlink()
    refused(tmp_path, "shard1.h5 is missing: run generate again")


def test_a_shard_cut_in_half_is_an_error(tmp_path):
    make_data_set(tmp_path, make_scan(5))
    cut(tmp_path / "shard1.h5", 0.5)
    with pytest.raises(MicrotomoError, match=r"shard1\.h5: is cut off"):
        read_scan(tmp_path)
