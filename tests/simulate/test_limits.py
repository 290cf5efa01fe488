"""Data sets of very many shards, under the limits of an ordinary account."""

import os
import subprocess
import sys

import numpy as np
import pytest

from microtomo.io.sources import open_scan
from microtomo.simulate.dataset import load_config
from microtomo.simulate.shards import ShardJob, write_index

MANY = 1200  # more than the 1,024 files that a process may have open

READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
import numpy as np
from microtomo.io.sources import open_scan
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with open_scan(sys.argv[1]) as source:
    source.read(slice(0, 1))
    before = peak()
    for start in range(0, source.samples, 100):
        scan = source.read(slice(start, start + 1))
        assert np.isfinite(scan.data).all() and np.isfinite(scan.truth).all()
print(peak() - before)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A data set whose shards are one file under many names."""
    folder = tmp_path_factory.mktemp("many")
    config = load_config(samples=MANY, shard_samples=1, height=8, width=8, forward="published")
    shards = config.shards()
    ShardJob(config, 0, shards[0]).run(folder)
    for shard in shards[1:]:
        os.link(shards[0].path(folder), shard.path(folder))
    write_index(config, 0, folder, "")
    return folder


def test_a_thousand_shards_are_read_with_forty_open_files_and_flat_memory(many):
    done = subprocess.run([sys.executable, "-c", READ, many], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20  # megabytes; HDF5 by itself took 21 a shard


def test_parts_across_shards_are_what_the_shards_hold(many):
    with open_scan(many) as source:
        one = source.data[0:1]
        assert np.array_equal(source.data[2:9:3], np.repeat(one, 3, 0))
        assert np.array_equal(source.data[MANY - 2 : MANY], np.repeat(one, 2, 0))
        assert source.data[5:5].shape == (0, *one.shape[1:])
        assert np.array_equal(source.data[3:4, 2:5], one[:, 2:5])


MEMORY = """
import resource, sys
from microtomo.cli.app import main
import microtomo.inverse.files, microtomo.solvers.map
used = int([line for line in open("/proc/self/status") if line.startswith("VmSize")][0].split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_too_little_memory_is_a_sentence(tmp_path):
    import h5py

    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("data", (31, 1500, 1500), "f4", chunks=(1, 1500, 1500))
        data[::] = 1.0
        file["energy"] = np.arange(5.0, 36.0)
    command = [sys.executable, "-c", MEMORY, "reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "out.h5"]
    done = subprocess.run([*command, "--forward", "published"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "memory" in done.stderr.lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.h5"]
