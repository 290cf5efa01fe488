import h5py
import numpy as np
import pytest

from making import make_data_set, make_reconstruction, make_scan
from microtomo import write_reconstruction, write_scan
from microtomo.errors import MicrotomoError
from microtomo.io.kinds import FORMATS, HDF5, Kind, files_in, format_of, kind_of


def test_no_suffix_belongs_to_two_formats():
    suffixes = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in suffixes)


def test_hdf5_is_known_by_what_stands_in_it(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    write_reconstruction(tmp_path / "rec.NXS", make_reconstruction())
    assert kind_of(tmp_path / "scan.h5") is Kind.SCAN
    assert kind_of(tmp_path / "rec.NXS") is Kind.RECONSTRUCTION
    (tmp_path / "scan.h5").rename(tmp_path / "scan.backup")
    assert kind_of(tmp_path / "scan.backup") is Kind.SCAN
    assert format_of(tmp_path / "scan.backup") is HDF5


def test_files_of_others_are_scans_whatever_their_groups_are_called(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["entry/fit/data"] = np.zeros((2, 3, 4))
    assert kind_of(tmp_path / "theirs.h5") is Kind.SCAN


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.npy", Kind.ARRAY), ("a.NPZ", Kind.ARRAY), ("a.tiff", Kind.RECORDED), ("a.dm4", Kind.RECORDED),
        ("a.emd", Kind.RECORDED), ("a.png", Kind.PICTURE), ("a.csv", Kind.UNKNOWN), ("a", Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_other_files_are_known_by_their_suffix(tmp_path, name, kind):
    (tmp_path / name).write_text("")
    assert kind_of(tmp_path / name) is kind


def test_folders(tmp_path):
    for name in ("set", "splits/train", "images", "other"):
        (tmp_path / name).mkdir(parents=True)
    make_data_set(tmp_path / "set", make_scan(3))
    make_data_set(tmp_path / "splits" / "train", make_scan(3))
    (tmp_path / "images" / "5keV.TIF").touch()
    (tmp_path / "other" / "notes.txt").touch()
    (tmp_path / "other" / "._5keV.tif").touch()  # what macOS leaves beside files
    kinds = {p.name: kind_of(p) for p in tmp_path.iterdir()}
    assert kinds == {
        "set": Kind.DATA_SET, "splits": Kind.DATA_SETS, "images": Kind.FOLDER_OF_IMAGES, "other": Kind.FOLDER,
    }  # fmt: skip


def test_files_of_a_folder_stand_in_natural_order(tmp_path):
    for name in ("a10.tif", "a9.tif", "a9.txt", ".a1.tif"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path, (".tif",))] == ["a9.tif", "a10.tif"]


def test_nothing_and_damage_are_named(tmp_path):
    with pytest.raises(MicrotomoError, match=r"none\.h5: no such file"):
        kind_of(tmp_path / "none.h5")
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(MicrotomoError, match=r"a\.h5: is no HDF5 file"):
        kind_of(tmp_path / "a.h5")
