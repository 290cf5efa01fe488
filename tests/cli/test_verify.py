"""``microtomo verify``: what is damaged or missing is named."""

import json

import h5py
import numpy as np
import pytest

from making import make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan
from microtomo.simulate.dataset import load_config
from microtomo.simulate.generation import generate_dataset


@pytest.fixture
def data_set(tmp_path):
    config = load_config(train=4, test=2, height=12, width=12, shard_samples=2, forward="published")
    generate_dataset(config, tmp_path / "set", seed=1)
    return tmp_path / "set"


def spoil(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_whole_is_said_to_be(data_set, capsys):
    write_scan(data_set.parent / "scan.h5", make_scan())
    write_reconstruction(data_set.parent / "out.h5", make_reconstruction())
    assert main(["verify", str(data_set), str(data_set.parent / "scan.h5"), str(data_set.parent / "out.h5")]) == 0
    assert capsys.readouterr().out == "7 of 7 files are as they were written\n"


def test_a_changed_byte_and_a_missing_shard_are_named(data_set, capsys):
    spoil(data_set / "train" / "shard-00001.h5")
    (data_set / "test" / "shard-00000.h5").unlink()
    assert main(["verify", str(data_set)]) == 1
    told = capsys.readouterr().out
    assert "shard-00001.h5: differs from what was written" in told
    assert "shard-00000.h5: no such file" in told
    assert "3 of 5 files are as they were written" in told
    assert main(["verify", "--json", str(data_set / "train")]) == 1
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["intact", "intact", "damaged"]


def test_a_file_without_a_checksum_is_read(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=np.ones((4, 50, 50)), chunks=(1, 50, 50), fletcher32=True)
    assert main(["verify", str(tmp_path)]) == 0
    assert "unsealed: " in (told := capsys.readouterr()).out
    assert "1 have no checksum" in told.err
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[-5000:-4000] = bytes(1000)
    (tmp_path / "a.h5").write_bytes(data)
    assert main(["verify", str(tmp_path)]) == 1


def test_what_is_no_file_of_ours_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "has no HDF5 files in it" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("words")
    assert main(["verify", str(tmp_path / "notes.txt")]) == 1
    assert "is no HDF5 file" in capsys.readouterr().out
