"""Damage to files is noticed: by HDF5 in what is read, by the seal in every byte."""

import numpy as np
import pytest

from making import make_reconstruction, make_scan
from microtomo.errors import MicrotomoError
from microtomo.io.new_hdf5 import new_hdf5
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import read_scan, write_scan
from microtomo.io.seal import BLOCK_BYTES, is_intact
from microtomo.simulate.dataset import load_config
from microtomo.simulate.generation import generate_dataset
from microtomo.simulate.shards import is_complete, write_index

LONG = 2000  # bytes that a bad sector spoils


def spoil(path, start, count=LONG):
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes(len(data[start : start + count]))
    path.write_bytes(data)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    config = load_config(samples=5, height=16, width=16, shard_samples=3, forward="published")
    folder = tmp_path_factory.mktemp("set")
    generate_dataset(config, folder, seed=1)
    return config, folder


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5])
def test_the_seal_holds_until_a_byte_changes(tmp_path, size):
    path = tmp_path / "a.h5"
    with new_hdf5(path) as (file, _):
        file["data"] = np.random.default_rng(0).integers(1, 255, size, dtype=np.uint8)
        file.attrs["late"] = "written out of order"
    whole = path.read_bytes()
    assert is_intact(path) is True
    for place in np.random.default_rng(1).integers(0, len(whole) - 24, 20):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert is_intact(path) is False


def test_files_without_a_seal_are_neither_intact_nor_damaged(tmp_path):
    for content in (b"", b"short", bytes(5000)):
        (tmp_path / "a").write_bytes(content)
        assert is_intact(tmp_path / "a") is None


def test_zeroed_bytes_anywhere_in_a_shard_are_written_again(data_set):
    config, folder = data_set
    path, shard = folder / "shard-00000.h5", config.shards()[0]
    whole = path.read_bytes()
    assert is_complete(path, config, 1, shard)
    try:
        for start in range(0, len(whole) - LONG - 24, len(whole) // 40):
            path.write_bytes(whole)
            spoil(path, start)
            if path.read_bytes() != whole:
                assert not is_complete(path, config, 1, shard), start
        assert generate_dataset(config, folder, seed=1).written == 3
        assert path.read_bytes() == whole
    finally:
        path.write_bytes(whole)


def test_a_spoilt_sample_is_told_where_it_is_read(data_set):
    _, folder = data_set
    path = folder / "shard-00000.h5"
    whole = path.read_bytes()
    truth = read_scan(folder).data
    try:
        spoil(path, whole.index(truth[1].tobytes()[:64]))
        with pytest.raises(MicrotomoError, match=r"shard-00000\.h5: cannot be read, it seems damaged"):
            read_scan(folder)
        assert np.array_equal(read_scan(folder, samples=slice(3, 5)).data, truth[3:])
    finally:
        path.write_bytes(whole)


def test_spoilt_images_of_a_single_scan_are_told(tmp_path):
    scan = make_scan()
    write_scan(tmp_path / "scan.h5", scan)
    whole = (tmp_path / "scan.h5").read_bytes()
    spoil(tmp_path / "scan.h5", whole.index(scan.data[7].tobytes()), 40)
    with pytest.raises(MicrotomoError, match=r"scan\.h5: cannot be read, it seems damaged"):
        read_scan(tmp_path / "scan.h5")


def test_every_file_of_ours_has_a_seal(tmp_path, data_set):
    write_scan(tmp_path / "scan.h5", make_scan())
    write_reconstruction(tmp_path / "out.h5", make_reconstruction(2))
    files = [*tmp_path.glob("*.h5"), *data_set[1].glob("*.h5")]
    assert len(files) == 5
    assert all(is_intact(path) for path in files)


def test_the_index_has_the_same_bytes_at_another_time(data_set, monkeypatch):
    config, folder = data_set
    before = (folder / "index.h5").read_bytes()
    import time

    time.sleep(1.1)  # HDF5 counts seconds
    write_index(config, 1, folder, "")
    assert (folder / "index.h5").read_bytes() == before
