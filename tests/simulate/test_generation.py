import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.simulate.dataset import load_config, make_sample
from microtomo.simulate.generation import forecast, generate_dataset
from microtomo.simulate.shards import ShardJob

WORKER_START_S = 180  # on a busy machine; an idle one takes three

JOB = """
import sys
from pathlib import Path
from microtomo.simulate.dataset import DatasetConfig
from microtomo.simulate.generation import generate_dataset
if __name__ == "__main__":
    config = DatasetConfig.model_validate_json(Path(sys.argv[1]).read_text())
    generate_dataset(config, sys.argv[2], seed=4, workers=int(sys.argv[3]) or None)
"""


def small(**values):
    return load_config(**{"height": 12, "width": 20, "shard_samples": 3, **values})


def shard_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("shard-*.h5"))}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A set of 40 shards that takes a few seconds, and the bytes it must have."""
    config = load_config(train=600, test=200, height=64, width=64, shard_samples=20)
    folder = tmp_path_factory.mktemp("expected")
    for shard in config.shards():
        ShardJob(config, 4, shard).run(folder)
    return config, shard_bytes(folder)


def start(config, tmp_path, workers):
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    arguments = [tmp_path / "job.py", tmp_path / "config.json", tmp_path / "set", str(workers)]
    return subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=WORKER_START_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def children(pid):
    """Worker processes of a process: its children apart from the resource tracker."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def test_folder_with_splits(tmp_path):
    made = generate_dataset(small(train=7, validation=3, test=2), tmp_path / "set", seed=1)
    assert (made.samples, made.written) == (12, 12)
    assert {str(p.relative_to(tmp_path / "set")) for p in (tmp_path / "set").rglob("*") if p.is_file()} == {
        "dataset.json", "train/index.h5", "train/shard-00000.h5", "train/shard-00001.h5", "train/shard-00002.h5",
        "validation/index.h5", "validation/shard-00000.h5", "test/index.h5", "test/shard-00000.h5",
    }  # fmt: skip
    seeds = []
    for split, count in (("train", 7), ("validation", 3), ("test", 2)):
        with h5py.File(tmp_path / "set" / split / "index.h5") as file:
            assert file["entry/data/data"].shape == (count, 31, 12, 20)
            assert np.isfinite(file["entry/data/data"][:]).all()
            seeds += file["entry/samples/layer_seeds"][:].ravel().tolist()
    assert len(set(seeds)) == len(seeds) == 24


def test_one_file_is_the_same_data(tmp_path):
    config = small(samples=7)
    generate_dataset(config, tmp_path / "one.h5", seed=1)
    generate_dataset(config, tmp_path / "many", seed=1)
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "many/index.h5") as many:
        for name in ("data/data", "thickness/data", "samples/layer_seeds", "samples/kind", "data/sample"):
            assert np.array_equal(one[f"entry/{name}"][:], many[f"entry/{name}"][:]), name
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_finished_shards_are_kept_and_broken_ones_rewritten(tmp_path):
    config = small(samples=12)
    generate_dataset(config, tmp_path, seed=1)
    expected = shard_bytes(tmp_path)
    (tmp_path / "shard-00001.h5").unlink()
    whole = (tmp_path / "shard-00002.h5").read_bytes()
    (tmp_path / "shard-00002.h5").write_bytes(whole[:-1000])
    (tmp_path / ".shard-00003.h5.1234.partial").write_bytes(b"left over")
    kept = (tmp_path / "shard-00000.h5").stat().st_mtime_ns
    told = []
    assert generate_dataset(config, tmp_path, seed=1, progress=told.append).written == 6
    assert told[0] == 6
    assert told[-1] == 12
    assert shard_bytes(tmp_path) == expected
    assert (tmp_path / "shard-00000.h5").stat().st_mtime_ns == kept
    assert not list(tmp_path.glob(".*"))


def test_another_configuration_is_refused(tmp_path):
    generate_dataset(small(samples=2), tmp_path / "set", seed=1)
    with pytest.raises(MicrotomoError, match=r"holds a data set with other settings \(.*config\.forward\)"):
        generate_dataset(small(samples=2, forward="published"), tmp_path / "set", seed=1)
    with pytest.raises(MicrotomoError, match=r"other settings \(seed"):
        generate_dataset(small(samples=2), tmp_path / "set", seed=2)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(MicrotomoError, match="is not empty and holds no data set"):
        generate_dataset(small(samples=2), tmp_path, seed=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_runs_in_one_folder_are_refused(tmp_path):
    config = small(samples=6)
    sentences = []

    def second(written):
        with pytest.raises(MicrotomoError) as caught:
            generate_dataset(config, tmp_path, seed=1)
        sentences.append(str(caught.value))

    generate_dataset(config, tmp_path, seed=1, progress=second)
    assert sentences
    assert all("another run is writing" in s for s in sentences)


def test_too_small_a_disk_is_noticed_before_the_start(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(MicrotomoError, match=r"needs .* GB more but the disk has 0\.00 GB free"):
        generate_dataset(small(samples=6), tmp_path / "set", seed=1)
    monkeypatch.undo()
    assert generate_dataset(small(samples=5), tmp_path / "set", seed=1).written == 5


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MicrotomoError, match="cannot be written"):
        generate_dataset(small(samples=1), tmp_path / "file" / "set")
    with pytest.raises(MicrotomoError, match="cannot be written"):
        generate_dataset(small(samples=1), "/proc/set")
    with pytest.raises(MicrotomoError, match="cannot be written"):
        generate_dataset(small(samples=1), tmp_path / "none" / "one.h5")


def test_impossible_requests(tmp_path):
    with pytest.raises(MicrotomoError, match="is empty: give --samples"):
        generate_dataset(small(), tmp_path / "set")
    with pytest.raises(MicrotomoError, match="one file holds no splits"):
        generate_dataset(small(train=3), tmp_path / "set.h5")
    with pytest.raises(MicrotomoError, match="a cluster writes shards"):
        generate_dataset(small(samples=3), tmp_path / "set.h5", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(MicrotomoError, match="0 workers"):
        generate_dataset(small(samples=3), tmp_path / "set", workers=0)


def test_forecast_tells_size_and_writes_nothing(tmp_path, monkeypatch):
    config = small(samples=300)
    make_sample(config, 1, "", 0)  # tables of the forward model are made and kept
    with monkeypatch.context() as closed:
        for name in ("open", "mkdir", "replace"):
            closed.setattr(os, name, lambda *_, name=name, **__: pytest.fail(f"a dry run calls {name}"))
        expected = forecast(config, tmp_path / "deep" / "set", seed=1)
    assert not list(tmp_path.iterdir())
    made = generate_dataset(config, tmp_path / "set", seed=1)
    assert expected.bytes == pytest.approx(made.bytes, rel=0.3)  # small samples: the files' own kilobytes show
    assert expected.missing == 300
    assert 0 < expected.seconds < 60
    assert forecast(config, tmp_path / "set", seed=1).missing == 0


def test_workers_write_the_same_bytes(tmp_path, large):
    config, expected = large
    generate_dataset(config, tmp_path, seed=4, workers=2)
    assert shard_bytes(tmp_path) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_kill_minus_nine_then_again_gives_the_same_bytes(tmp_path, large, workers):
    config, expected = large
    folder = tmp_path / "set"
    job = start(config, tmp_path, workers)
    wait_for(lambda: len(list(folder.glob("*/shard-*.h5"))) >= 2 and list(folder.glob("*/.*.partial")))
    workers_of_it = children(job.pid)
    assert len(workers_of_it) == workers
    job.kill()
    job.communicate()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers_of_it))
    done = shard_bytes(folder)
    assert 0 < len(done) < len(expected)
    assert all(expected[name] == content for name, content in done.items())
    made = generate_dataset(config, folder, seed=4)
    assert made.written < 800
    assert shard_bytes(folder) == expected
    assert not list(folder.rglob(".*"))


def test_a_killed_worker_is_replaced(tmp_path, large):
    config, expected = large
    killed = []

    def progress(written):
        if written > 100 and not killed:
            killed.append(children(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    generate_dataset(config, tmp_path / "set", seed=4, workers=2, progress=progress)
    assert killed
    assert shard_bytes(tmp_path / "set") == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupt_stops_workers_and_leaves_no_half_file(tmp_path, large, workers):
    config, expected = large
    folder = tmp_path / "set"
    job = start(config, tmp_path, workers)
    wait_for(lambda: len(list(folder.glob("*/shard-*.h5"))) >= 2)
    workers_of_it = children(job.pid)
    os.kill(job.pid, signal.SIGINT)
    _, told = job.communicate(timeout=30)
    assert job.returncode != 0
    assert told.count("Traceback") == 1  # of this bare script; the verb tells it in a sentence
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers_of_it)
    assert not list(folder.rglob(".*"))
    done = shard_bytes(folder)
    assert 0 < len(done) < len(expected)
    assert all(expected[name] == content for name, content in done.items())


def test_an_error_in_a_worker_arrives_as_it_is(tmp_path):
    config = small(samples=6, dtype="float16", detector__gain=[1e6])
    with pytest.raises(MicrotomoError, match="does not fit float16"):
        generate_dataset(config, tmp_path / "set", workers=2)
    assert not list((tmp_path / "set").glob("shard*"))
    assert not list((tmp_path / "set").glob(".*"))


def test_dask_cluster_survives_a_killed_worker(tmp_path, large):
    distributed = pytest.importorskip("distributed")
    config, expected = large
    folder = tmp_path / "set"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        pids = [worker.process.process.pid for worker in cluster.workers.values()]
        killed = []

        def kill():
            wait_for(lambda: list(folder.glob("*/shard-*.h5")))
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

        killer = threading.Thread(target=kill)
        killer.start()
        made = generate_dataset(config, folder, seed=4, scheduler=cluster.scheduler_address)
        killer.join()
    assert killed
    assert made.written == 800
    assert shard_bytes(folder) == expected
    assert not list(folder.rglob(".*"))


def test_missing_dask_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        MicrotomoError, match=r"--scheduler needs Dask: install it with pip install 'microtomo\[cluster\]'"
    ):
        generate_dataset(small(samples=1), tmp_path / "set", scheduler="tcp://127.0.0.1:1")


def test_description_stands_beside_the_data(tmp_path):
    generate_dataset(small(samples=1), tmp_path / "set", seed=11)
    told = json.loads((tmp_path / "set/dataset.json").read_text())
    assert told["seed"] == 11
    assert told["config"]["stack"]["name"] == "au-al-si"
    assert told["microtomo_version"]
