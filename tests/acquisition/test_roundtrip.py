"""Imported scans in the programs of others."""

import h5py
import numpy as np
import pytest

from microtomo.acquisition.importing import import_stack
from microtomo.io.scans import read_scan, write_scan
from microtomo.simulate.microscope import write_tiffs
from recorded import DARK, few_energies, record


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roundtrip")
    told, _ = record(few_energies(5, 7, 9, 11, 13), size=48, drift=0.5)
    write_tiffs(folder / "frames", told.images, told.energies_kev, 8.0)
    imported = import_stack(folder / "frames", dark=DARK)
    write_scan(folder / "scan.h5", imported.scan)
    return folder / "scan.h5", imported.scan


def test_our_scan_comes_back_with_its_history(scan_file):
    path, scan = scan_file
    back = read_scan(path)
    assert np.array_equal(back.data, scan.data)
    assert (back.energies_kev, back.pixel_nm, back.forward) == ((5, 7, 9, 11, 13), 8.0, "transport")
    assert back.stack.energies_kev == back.energies_kev
    done = back.history["import"]
    assert (done["dark"], done["registered"], len(done["files"])) == (DARK, True, 5)
    assert all(len(hash_) == 64 for hash_ in done["files"].values())
    assert np.shape(done["shifts_px"]) == np.shape(done["shift_error_px"]) == (5, 2)
    assert len(done["gain"]) == len(done["gain_error"]) == len(done["noise"]) == 5


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hyperspy_opens_it_with_units(scan_file):
    hyperspy = pytest.importorskip("hyperspy.api")
    path, scan = scan_file
    signal = hyperspy.load(str(path), use_default=True, reader="nexus")
    assert np.array_equal(signal.data, scan.data)
    axes = {axis.name: axis for axis in signal.axes_manager._axes}
    assert list(axes) == ["energy", "y", "x"]
    assert (axes["energy"].offset, axes["energy"].scale, axes["energy"].units) == (5.0, 2.0, "keV")
    assert [(axes[a].scale, axes[a].units) for a in ("y", "x")] == [(8.0, "nm")] * 2
    assert signal.axes_manager.signal_dimension == 2


def test_silx_shows_it_by_default(scan_file):
    nxdata = pytest.importorskip("silx.io.nxdata")
    path, scan = scan_file
    with h5py.File(path) as file:
        default = nxdata.get_default(file)
        assert default.is_valid
        assert default.interpretation == "image"
        assert default.axes_dataset_names == ["energy", "y", "x"]
        assert [axis.attrs["units"] for axis in default.axes] == ["keV", "nm", "nm"]
        assert np.array_equal(default.signal[()], scan.data)
