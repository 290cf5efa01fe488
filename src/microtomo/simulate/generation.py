"""Generate a data set: in a folder of shards that can be resumed, or in one file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.io.folders import claim_folder
from microtomo.seeds import TEST_SEED, VALIDATION_SEED
from microtomo.simulate.dataset import SINGLE_FILE, DatasetConfig, Shard, make_sample
from microtomo.simulate.shards import ShardJob, is_complete, one_torch_thread, write_index, write_samples
from microtomo.simulate.workers import default_workers, run_here, run_in_workers, run_on_cluster

_DESCRIPTION = "dataset.json"
_SMALL_BYTES = 2e9  # that threads of this process write, in a few seconds
_MOST_THREADS = 8  # that make samples side by side in one process
_FORECAST_S, _FORECAST_SAMPLES = 1.0, 256  # a forecast makes samples for so long, and no more than so many

Progress = Callable[[int], None]
"""Called with the samples of the data set that are there by now."""


@dataclass(frozen=True)
class Generated:
    """What a run did: samples of the data set and how many of them it wrote, bytes on disk, seconds, workers."""

    path: str
    samples: int
    written: int
    bytes: int
    seconds: float
    workers: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Forecast:
    """What a run would take: samples in all and still missing, bytes on disk, free bytes, seconds."""

    path: str
    samples: int
    missing: int
    bytes: int
    free_bytes: int
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def generate_dataset(
    config: DatasetConfig,
    out: str | Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = lambda written: None,
) -> Generated:
    """Write a data set to a folder (shards and ``index.h5``), or to one file where ``out`` ends in .h5, .hdf5 or .nxs.

    A folder that was left unfinished is completed, with the same bytes as in one go. ``workers`` are processes; when
    not given, one for each core, or threads of this process for what takes a few seconds. ``scheduler`` is the address
    of a Dask cluster. ``progress`` is called with the samples that are there by now.
    Raises MicrotomoError for a folder of something else, a full disk or a place that cannot be written.
    """
    started = time.perf_counter()
    out = Path(out).absolute()
    in_process = workers is None or workers == 1
    workers = _checked(config, seed, workers)
    config.forward_model.prepare()  # once, not in every worker
    if out.suffix in SINGLE_FILE:
        if config.samples == 0:
            raise MicrotomoError(f"{out}: one file holds no splits: give a folder, or samples alone")
        if scheduler is not None:
            raise MicrotomoError(f"{out}: a cluster writes shards: give a folder")
        threads = min(workers, _MOST_THREADS)
        write_samples(out, config, seed, Shard("", 0, 0, config.samples), progress, threads)
        return _summary(out, config, config.samples, started, threads)
    description = {
        "microtomo_version": version("microtomo"),
        "seed": seed,
        "config_hash": config.fingerprint(seed),
        "config": config.model_dump(mode="json"),
    }
    with claim_folder(out, _DESCRIPTION, description, "data set", results=("*.h5", "*/*.h5")):
        jobs = [ShardJob(config, seed, shard) for shard in config.shards()]
        missing = [job for job in jobs if not job.done(out)]
        todo = round(sum(job.weight for job in missing))
        _check_space(out, todo * config.sample_bytes)

        def advance(written: float, label: str = "") -> None:
            progress(config.total - todo + round(written))

        advance(0)
        if scheduler is not None:
            run_on_cluster(missing, out, scheduler, advance)
        elif in_process and todo * config.sample_bytes < _SMALL_BYTES:
            run_here([replace(job, threads=workers) for job in missing], out, advance)
        else:
            run_in_workers(missing, out, workers, advance)
        for split in {job.shard.split: None for job in jobs}:
            write_index(config, seed, out, split)
    return _summary(out, config, todo, started, workers)


def forecast(config: DatasetConfig, out: str | Path, *, seed: int = 0, workers: int | None = None) -> Forecast:
    """Size and time of a data set, from a second of making samples; writes nothing, so a slow disk takes longer."""
    out = Path(out).absolute()
    workers = _checked(config, seed, workers)
    shards = [Shard("", 0, 0, config.samples)] if out.suffix in SINGLE_FILE else config.shards()
    missing = sum(s.stop - s.start for s in shards if not is_complete(s.path(out), config, seed, s))
    parent = _existing(out)
    make_sample(config, seed, shards[0].split, 0)  # compiles what is compiled
    count, started = 0, time.perf_counter()
    with one_torch_thread():
        while count == 0 or (count < _FORECAST_SAMPLES and time.perf_counter() - started < _FORECAST_S):
            make_sample(config, seed, shards[0].split, count)
            count += 1
    seconds = time.perf_counter() - started
    return Forecast(
        path=str(out),
        samples=config.total,
        missing=missing,
        bytes=config.total * config.sample_bytes,
        free_bytes=shutil.disk_usage(parent).free,
        seconds=missing
        * seconds
        / count
        / min(workers, len(shards) if out.suffix not in SINGLE_FILE else _MOST_THREADS),
    )


def _checked(config: DatasetConfig, seed: int, workers: int | None) -> int:
    if config.total == 0:
        raise MicrotomoError("the data set is empty: give --samples, or --train, --validation and --test")
    if config.validation and seed in (TEST_SEED, VALIDATION_SEED):
        raise MicrotomoError(f"seed {seed} is that of the structures that methods are scored on: give another one")
    if workers is not None and workers < 1:
        raise MicrotomoError(f"{workers} workers cannot work: give 1 or more")
    return workers or default_workers()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MicrotomoError(
            f"{folder}: the data set needs {needed / 1e9:.2f} GB more but the disk has {free / 1e9:.2f} GB free: make "
            "room, take fewer samples or --dtype float16"
        )


def _existing(path: Path) -> Path:
    """The path or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _summary(path: Path, config: DatasetConfig, written: int, started: float, workers: int) -> Generated:
    files = [path] if path.is_file() else list(path.rglob("*.h5"))
    size = sum(file.stat().st_size for file in files)
    return Generated(str(path), config.total, written, size, time.perf_counter() - started, workers)
