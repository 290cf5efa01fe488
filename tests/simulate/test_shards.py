import errno
import os
import resource
import time

import h5py
import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.simulate.dataset import Shard, load_config, make_sample
from microtomo.simulate.shards import ShardJob, is_complete, write_index, write_samples


def small(**values):
    return load_config(**{"height": 16, "width": 24, "shard_samples": 4, **values})


def write_shard(config, seed, index, folder):
    job = ShardJob(config, seed, config.shards()[index])
    job.run(folder)
    return job.shard.path(folder)


def test_layout_of_a_shard(tmp_path):
    config = small(train=6, forward="published", structures={"lithography": 1})
    path = write_shard(config, 5, 1, tmp_path)
    assert path == tmp_path / "train" / "shard-00001.h5"
    with h5py.File(path) as file:
        entry = file["entry"]
        assert file.attrs["default"] == "entry"
        assert entry.attrs["default"] == "data"
        assert entry.attrs["contrast"] == "published"
        assert entry.attrs["noise"] == 0.02
        assert entry.attrs["split"] == "train"
        assert list(entry["data"].attrs["axes"]) == ["sample", "energy", "y", "x"]
        data, thickness = entry["data/data"], entry["thickness/data"]
        assert data.shape == (2, 31, 16, 24)
        assert data.dtype == np.float32
        assert data.chunks == (1, 31, 16, 24)
        assert thickness.shape == (2, 2, 16, 24)
        assert entry["data/energy"][:].tolist() == list(range(5, 36))
        assert entry["data/energy"].attrs["units"] == "keV"
        assert entry["data/x"][:].tolist() == [10.0 * i for i in range(24)]
        assert entry["data/sample"][:].tolist() == [4, 5]
        for i in range(2):
            sample = make_sample(config, 5, "train", 4 + i)
            assert np.array_equal(data[i], sample.signal.numpy())
            assert np.array_equal(thickness[i], sample.thickness.numpy())
            assert tuple(int(s) for s in entry["samples/layer_seeds"][i]) == sample.layer_seeds
            assert entry["samples/kind"][i] == b"lithography"
            assert entry["samples/split"][i] == b"train"


def test_half_precision_rounds_by_less_than_a_twentieth_of_the_noise(tmp_path):
    write_shard(small(samples=2), 1, 0, tmp_path / "single")
    write_shard(small(samples=2, dtype="float16"), 1, 0, tmp_path / "half")
    with h5py.File(tmp_path / "single/shard-00000.h5") as single, h5py.File(tmp_path / "half/shard-00000.h5") as half:
        exact, rounded = single["entry/data/data"][:], half["entry/data/data"][:]
        assert rounded.dtype == np.float16
        assert np.abs(rounded.astype(float) / exact - 1).max() < 0.0005
        assert half["entry/thickness/data"].dtype == np.float32


def test_half_precision_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(MicrotomoError, match="does not fit float16"):
        write_shard(small(samples=1, dtype="float16", detector__gain=[1e6]), 0, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_bytes_depend_on_nothing_else(tmp_path, monkeypatch):
    config = small(samples=9, structures={"perlin": 1, "lithography": 1, "continuous": 1})
    first = write_shard(config, 2, 1, tmp_path / "a").read_bytes()
    time.sleep(1.1)  # a time stamp in the file would show
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    monkeypatch.chdir(tmp_path)
    for index in (2, 0, 1):
        write_shard(config, 2, index, tmp_path / "b")
    assert (tmp_path / "b/shard-00001.h5").read_bytes() == first
    write_samples(tmp_path / "c.h5", config, 2, Shard("", 1, 4, 8), threads=3)
    assert (tmp_path / "c.h5").read_bytes() == first
    assert write_shard(config, 3, 1, tmp_path / "d").read_bytes() != first


def test_completeness(tmp_path):
    config = small(samples=9)
    shards = config.shards()
    path = write_shard(config, 2, 1, tmp_path)
    assert is_complete(path, config, 2, shards[1])
    assert not is_complete(path, config, 2, shards[0])
    assert not is_complete(path, config, 3, shards[1])
    assert not is_complete(path, small(samples=10), 2, shards[1])
    assert not is_complete(tmp_path / "none.h5", config, 2, shards[1])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert not is_complete(path, config, 2, shards[1])
    path.write_bytes(b"no HDF5")
    assert not is_complete(path, config, 2, shards[1])


def test_index_shows_the_shards_as_one_from_anywhere(tmp_path, monkeypatch):
    config = small(validation=10)
    for index in range(3):
        write_shard(config, 1, index, tmp_path / "made")
    write_index(config, 1, tmp_path / "made", "validation")
    (tmp_path / "made").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    with h5py.File(tmp_path / "moved/validation/index.h5") as file:
        assert file["entry/data/data"].is_virtual
        assert file["entry/data/data"].attrs["interpretation"] == "image"
        assert file["entry/samples/layer_seeds"].shape == (10, 2)
        for i in (0, 3, 4, 9):
            sample = make_sample(config, 1, "validation", i)
            assert np.array_equal(file["entry/data/data"][i], sample.signal.numpy())
            assert np.array_equal(file["entry/thickness/data"][i], sample.thickness.numpy())
            assert file["entry/samples/kind"][i] == b"perlin"


def test_a_lost_shard_reads_as_nan(tmp_path):
    config = small(samples=8)
    write_shard(config, 1, 1, tmp_path)
    write_index(config, 1, tmp_path, "")
    with h5py.File(tmp_path / "index.h5") as file:
        assert np.isnan(file["entry/data/data"][:4]).all()
        assert np.isfinite(file["entry/data/data"][4:]).all()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, code):
    real, calls = os.pwrite, []

    def pwrite(file, data, offset):
        calls.append(offset)
        if len(calls) > 3:
            raise OSError(code, os.strerror(code))
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(MicrotomoError, match=r"shard-00000\.h5: cannot be written, .*: make room"):
        write_shard(small(samples=4), 0, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_file_size_limit_is_a_sentence_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(MicrotomoError, match="cannot be written"):
            write_shard(small(samples=4), 0, 0, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
