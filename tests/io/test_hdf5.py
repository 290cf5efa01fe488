import re

import h5py
import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.io.axes import axis_values, pixel_size
from microtomo.io.hdf5 import default_signal, in_nm, only_candidate, open_hdf5, text
from microtomo.io.stored import StoredArray


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        yield opened


def nexus(file, shape=(2, 3, 4), units=("keV", "nm", "nm"), steps=(1.0, 4.0, 4.0)):
    """An NXdata group as the NeXus manual has it: default, signal, axes."""
    group = file.create_group("entry/measured")
    file.attrs["default"], file["entry"].attrs["default"] = "entry", "measured"
    group.attrs.update({"signal": "counts", "axes": ["energy", "y", "x"]})
    group["counts"] = np.zeros(shape)
    for name, size, unit, step in zip(("energy", "y", "x"), shape, units, steps, strict=True):
        group[name] = np.arange(size) * step
        group[name].attrs["units"] = unit
    return group["counts"]


def test_the_default_signal_is_followed(file):
    assert default_signal(file) is None
    signal = nexus(file)
    assert default_signal(file) == signal
    file["entry"].attrs["default"] = "gone"
    assert default_signal(file) is None


def test_a_default_that_leads_to_itself_ends(file):
    file.attrs["default"] = "."
    assert default_signal(file) is None


def test_the_only_array_of_images_is_taken(file, tmp_path):
    file["a/deep/images"], file["line"], file["words"] = np.zeros((2, 3, 4)), np.zeros(3), "text"
    assert only_candidate(tmp_path, file).name == "/a/deep/images"
    file["more"] = np.zeros((2, 3, 4))
    with pytest.raises(MicrotomoError, match=re.escape("/a/deep/images (2, 3, 4), /more (2, 3, 4)")):
        only_candidate(tmp_path, file)


def test_axes_come_from_nexus_or_from_a_sibling(file, tmp_path):
    signal = nexus(file)
    values, units = axis_values(tmp_path, signal, -3)
    assert (values.tolist(), units) == ([0.0, 1.0], "keV")
    del signal.parent.attrs["axes"]
    assert axis_values(tmp_path, signal, -3) is None
    assert axis_values(tmp_path, signal, -3, ("energies", "energy"))[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("units", "size"), [("nm", 4.0), ("um", 4000.0), ("angstrom", 0.4), ("px", None)])
def test_pixel_size_is_in_nm(file, tmp_path, units, size):
    assert pixel_size(tmp_path, nexus(file, units=("keV", units, units))) == (size and pytest.approx(size))


def test_pixels_that_are_not_square_are_refused(file, tmp_path):
    with pytest.raises(MicrotomoError, match="pixels are 4 x 5 nm, not square"):
        pixel_size(tmp_path, nexus(file, steps=(1.0, 4.0, 5.0)))


def test_lengths():
    assert in_nm(2, "µm") == in_nm(2, "μm") == in_nm(2, " Micron ") == 2000  # both letters that look like mu
    assert in_nm(3, "\u212b".lower()) == pytest.approx(0.3)  # the Angstrom sign
    assert in_nm(1, "second") is None


def test_shards_behind_a_virtual_data_set_must_be_there(file, tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as part:
        part["data"] = np.ones(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("part.h5", "data", (3,))
    file.create_virtual_dataset("whole", layout)
    file.flush()
    assert StoredArray.of(tmp_path / "a.h5", file["whole"]).files == (tmp_path / "part.h5",)
    (tmp_path / "part.h5").unlink()
    with pytest.raises(MicrotomoError, match=r"its shard part\.h5 is missing"):
        _ = StoredArray.of(tmp_path / "a.h5", file["whole"]).files


def test_text_of_any_kind_of_attribute(file):
    file.attrs["words"], file.attrs["one"], file.attrs["bytes"] = "µm", ["x"], np.bytes_(b"y")
    assert [text(file.attrs[name]) for name in ("words", "one", "bytes")] == ["µm", "x", "y"]
    assert text(b"\xff") == "\ufffd"


def test_what_cannot_be_opened_is_a_sentence(tmp_path):
    (tmp_path / "a.h5").write_text("no")
    for name, sentence in (("a.h5", "is no HDF5 file"), ("none.h5", "no such file")):
        with pytest.raises(MicrotomoError, match=f"{name}: {sentence}"), open_hdf5(tmp_path / name):
            pass
