import re

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import numbers, read_npy, read_npz, to_numpy
from microtomo.io.names import energy_in_name, natural_order

SCAN = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def refused(call, sentence):
    with pytest.raises(MicrotomoError, match=re.escape(sentence)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_npy_is_mapped_and_changes_do_not_reach_the_file(tmp_path):
    np.save(tmp_path / "a.npy", SCAN)
    images = read_npy(tmp_path / "a.npy")
    assert isinstance(images.data, np.memmap)
    assert (images.energies_kev, images.files) == (None, (tmp_path / "a.npy",))
    images.data[0, 0, 0] = 99
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), SCAN)


def test_npz_gives_the_array_of_the_name_and_the_energies_beside_it(tmp_path):
    np.savez(tmp_path / "a.npz", scan=SCAN, other=SCAN + 1, energy=np.array([5, 7]))
    images = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(images.data, SCAN)
    assert images.energies_kev == (5.0, 7.0)


def test_npz_gives_the_only_array_of_images_under_any_name(tmp_path):
    np.savez(tmp_path / "a.npz", measured=SCAN, mask=SCAN[0])
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz").data, SCAN)


def test_npz_with_two_candidates_asks_which(tmp_path):
    np.savez(tmp_path / "a.npz", first=SCAN, second=SCAN)
    refused(lambda: read_npz(tmp_path / "a.npz"), "which array is meant? It holds first (2, 3, 4), second (2, 3, 4)")


def test_only_numbers_are_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(lambda: read_npy(tmp_path / "a.npy"), "holds Python objects or is no NumPy file")
    np.savez(tmp_path / "a.npz", data=np.array([{"a": 1}], dtype=object))
    refused(lambda: read_npz(tmp_path / "a.npz"), "holds Python objects")


def test_files_of_another_kind_are_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 not quite")
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz: is no .npz archive or cut off")
    np.save(tmp_path / "b.npy", SCAN)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    refused(lambda: read_npz(tmp_path / "b.npz"), "b.npz: is a .npy array under another name: rename it to .npy")
    refused(lambda: read_npy(tmp_path / "none.npy"), "none.npy: no such file: check the path")
    (tmp_path / "empty.npy").touch()
    refused(lambda: read_npy(tmp_path / "empty.npy"), "empty.npy: is empty or cut off")


def test_numbers_are_flat_floats():
    assert numbers(np.array([[5, 7]], dtype=">i2")) == (5.0, 7.0)
    assert all(type(n) is float for n in numbers([5]))


def test_tensors_leave_their_graph():
    tensor = torch.ones(2, requires_grad=True) * 2
    np.testing.assert_array_equal(to_numpy(tensor), [2, 2])
    assert to_numpy(SCAN) is SCAN


@pytest.mark.parametrize(
    ("stem", "energy"),
    [
        ("al_05keV", 5), ("5.5 keV", 5.5), ("5000eV", 5), ("5.0kV", 5), ("BSE-12_KEV", 12), ("scan_7", None),
        ("12keVs", None), ("v1.25keV", 1.25),
    ],
)  # fmt: skip
def test_energy_in_a_file_name(stem, energy):
    assert energy_in_name(stem) == energy


def test_names_are_sorted_as_people_do(tmp_path):
    names = ["image10", "image9", "Image1", "a", "image9b"]
    ordered = sorted((tmp_path / f"{name}.tif" for name in names), key=natural_order)
    assert [path.stem for path in ordered] == ["a", "Image1", "image9", "image9b", "image10"]
