"""Hostile and damaged HDF5 files: each is refused by name, and none hangs, crashes or lets other files in."""

import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from making import E, X, Y, make_data_set, make_reconstruction, make_scan, refused
from microtomo.errors import MicrotomoError
from microtomo.io import guard
from microtomo.io.guard import check_hdf5
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.io.scans import read_scan, read_truth, write_scan
from microtomo.io.vendor import read_vendor
from microtomo.materials import ENERGIES_KEV

SECRET = np.arange(E * Y * X, dtype="f4")


@pytest.fixture
def place(tmp_path):
    """A folder with a file beside it that nobody may see."""
    (tmp_path / "secret").write_bytes(SECRET.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = SECRET.reshape(E, Y, X)
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def external_storage(file, target):
    file.create_dataset("data", (E, Y, X), "f4", external=[(str(target.with_suffix("")), 0, SECRET.nbytes)])


def external_link(file, target):
    file["data"] = h5py.ExternalLink(str(target), "/data")


def virtual_source(file, target):
    layout = h5py.VirtualLayout((E, Y, X), "f4")
    layout[:] = h5py.VirtualSource(str(target), "data", (E, Y, X))
    file.create_virtual_dataset("data", layout)


@pytest.mark.parametrize("way", [external_storage, external_link, virtual_source])
@pytest.mark.parametrize("target", ["{}/secret.h5", "../secret.h5", "{}/set/../secret.h5"])
def test_values_from_outside_the_folder_are_refused(place, way, target):
    with h5py.File(place / "scan.h5", "w") as file:
        way(file, Path(target.format(place.parent)))
        file["energy"] = ENERGIES_KEV
    refused(place / "scan.h5", "secret.*, which is never read")


def test_a_link_of_the_system_does_not_lead_outside(place):
    (place / "shard.h5").symlink_to(place.parent / "secret.h5")
    with h5py.File(place / "scan.h5", "w") as file:
        virtual_source(file, place / "shard.h5")
        file["energy"] = ENERGIES_KEV
    refused(place / "scan.h5", "outside its folder")


def test_links_through_a_file_beside_it_are_followed_up(place):
    with h5py.File(place / "beside.h5", "w") as file:
        external_link(file, place.parent / "secret.h5")
    with h5py.File(place / "scan.h5", "w") as file:
        file["data"], file["energy"] = h5py.ExternalLink("beside.h5", "/data"), ENERGIES_KEV
    refused(place / "scan.h5", "outside its folder")


def test_links_do_not_lead_to_the_current_folder(place, monkeypatch):
    """Where HDF5 looks when there is no such file beside the one with the link."""
    monkeypatch.chdir(place.parent)
    with h5py.File(place / "scan.h5", "w") as file:
        external_link(file, "secret.h5")
        file["energy"], file.attrs["signal"] = ENERGIES_KEV, "data"
    refused(place / "scan.h5", "in the current folder, not beside it")
    with h5py.File(place / "scan.h5", "w") as file:
        external_storage(file, Path("secret.h5"))
    refused(place / "scan.h5", "keeps values in another file, secret")


@pytest.mark.parametrize("way", [external_link, virtual_source])
def test_files_beside_it_are_read(place, way):
    for name in ("secret", "secret.h5"):
        (place.parent / name).rename(place / name)
    with h5py.File(place / "scan.h5", "w") as file:
        way(file, place / "secret.h5")
        file["energy"], file.attrs["signal"] = ENERGIES_KEV, "data"
    assert np.array_equal(read_scan(place / "scan.h5", energies_kev=ENERGIES_KEV).data.ravel(), SECRET)


@pytest.mark.parametrize("names", [("scan.h5", "scan.h5"), (".", "."), ("other.h5", "scan.h5")])
def test_a_virtual_data_set_of_itself_is_refused(place, names):
    for file_name, target in zip(("scan.h5", "other.h5"), names, strict=True):
        with h5py.File(place / file_name, "w") as file:
            layout = h5py.VirtualLayout((E, Y, X), "f4")
            layout[:] = h5py.VirtualSource(target, "data", (E, Y, X))
            file.create_virtual_dataset("data", layout)
            file["energy"] = ENERGIES_KEV
    with pytest.raises(MicrotomoError, match="virtual"):
        read_scan(place / "scan.h5")


def test_a_reader_that_hands_files_to_hdf5_takes_no_virtual_ones(place):
    with h5py.File(place / "scan.emd", "w") as file:
        virtual_source(file, place / "scan.emd")
    with pytest.raises(MicrotomoError, match=r"scan\.emd: holds the virtual data set /data"):
        read_vendor(place / "scan.emd", "emd")


def test_attributes_that_hang_hdf5_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "LIMIT_S", 1)
    monkeypatch.setattr(guard, "_gate", guard._Gate())
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = np.ones((E, Y, X))
        file.attrs["words"] = "words " * 100
    whole = (tmp_path / "scan.h5").read_bytes()
    place = whole.index(b"GCOL") + 16  # the heap of texts: its first entry
    (tmp_path / "scan.h5").write_bytes(whole[:place] + bytes(256) + whole[place + 256 :])
    refused(tmp_path / "scan.h5", "HDF5 hangs or crashes where it is opened")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("scan.h5", "scan.npy", "scan.npz", "scan.tif", "scan.dm3", "scan.png", "scan"):
        os.mkfifo(tmp_path / name)
        refused(tmp_path / name, "is a pipe or device")
    for reader in (read_truth, read_reconstruction):
        with pytest.raises(MicrotomoError, match="is a pipe or device"):
            reader(tmp_path / "scan.h5")


def test_a_pipe_in_the_place_of_a_shard_is_refused(tmp_path):
    make_data_set(tmp_path, make_scan(5))
    (tmp_path / "shard1.h5").unlink()
    os.mkfifo(tmp_path / "shard1.h5")
    refused(tmp_path, r"shard1\.h5, which is no file")


def test_the_gate_goes_on_after_a_crash(tmp_path):
    write_scan(tmp_path / "a.h5", make_scan())
    write_scan(tmp_path / "b.h5", make_scan())
    check_hdf5(tmp_path / "a.h5")
    os.kill(guard._gate._child.pid, signal.SIGKILL)
    time.sleep(0.05)
    check_hdf5(tmp_path / "b.h5")


def test_a_process_that_was_forked_has_a_gate_of_its_own(tmp_path):
    write_scan(tmp_path / "a.h5", make_scan())
    check_hdf5(tmp_path / "a.h5")
    write_scan(tmp_path / "b.h5", make_scan())
    child = os.fork()
    if child == 0:
        try:
            check_hdf5(tmp_path / "b.h5")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    check_hdf5(tmp_path / "b.h5")


def test_a_small_file_that_declares_much_is_refused(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", (E, 5000, 5000), "f4", chunks=(1, 500, 500), compression="gzip")
        file["energy"] = ENERGIES_KEV
    refused(tmp_path / "scan.h5", r"declares an array of 3\.1 GB but has .* kB on disk.*--memory-gb 4")
    write_reconstruction(tmp_path / "out.h5", make_reconstruction())
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        del file["entry/volume/data"]
        file["entry/volume"].create_dataset("data", (10**4, 10**3, 10**3), "u1", chunks=(1, 500, 500))
    with pytest.raises(MicrotomoError, match=r"out\.h5: declares an array of 40 GB"):
        read_reconstruction(tmp_path / "out.h5")


def test_the_limit_is_raised_by_name(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", (E, 1000, 1000), "f4", chunks=(1, 500, 500))
        file["energy"] = ENERGIES_KEV
    monkeypatch.setenv("MICROTOMO_MEMORY_GB", "0.1")
    refused(tmp_path / "scan.h5", "the limit for it is 100 MB")
    monkeypatch.setenv("MICROTOMO_MEMORY_GB", "0.2")
    assert read_scan(tmp_path / "scan.h5").shape == (E, 1000, 1000)
