"""Where shards are written: worker processes of this machine or a Dask cluster; both survive a killed worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.simulate.dataset import DatasetConfig
from microtomo.simulate.shards import is_complete, write_shard

_ATTEMPTS = 3
Progress = Callable[[int], None]
"""Told how many samples have been written by now."""


def run_here(
    config: DatasetConfig, seed: int, folder: Path, missing: Sequence[int], threads: int, progress: Progress
) -> None:
    """Write the shards ``missing`` one after the other with a few threads: right for a few seconds of work, which is
    what worker processes take to start."""
    shards = config.shards()
    before = 0

    def on_sample(count: int) -> None:
        progress(before + count)

    for index in missing:
        write_shard(config, seed, index, folder, on_sample, threads)
        before += shards[index].stop - shards[index].start


def run_local(
    config: DatasetConfig, seed: int, folder: Path, missing: Sequence[int], workers: int, progress: Progress
) -> None:
    """Write the shards ``missing`` in worker processes; what a killed worker leaves undone is done by new ones.

    Raises MicrotomoError when a shard cannot be written or workers die three times without finishing a shard.
    """
    context = multiprocessing.get_context("spawn")
    counts = context.RawArray(
        "Q", len(config.shards())
    )  # samples of each shard; no locks that a dead worker could hold
    stop = context.RawValue("b", 0)
    attempts = 0
    while missing:
        pool = ProcessPoolExecutor(
            min(workers, len(missing)), mp_context=context, initializer=_start_worker, initargs=(counts, stop)
        )
        try:
            with _interrupts_blocked():  # the workers inherit it: Ctrl-C is for this process, which tells them
                waiting: set[Future[None]] = {
                    pool.submit(_write_in_worker, config, seed, index, folder) for index in missing
                }
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                progress(sum(counts))
        except BrokenProcessPool:
            pass
        except BaseException:
            stop.value = 1
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        left = _incomplete(config, seed, folder, missing)
        attempts = attempts + 1 if len(left) == len(missing) else 0
        missing = left
        _give_up_after(attempts, folder)


def run_on_cluster(
    config: DatasetConfig, seed: int, folder: Path, missing: Sequence[int], address: str, progress: Progress
) -> None:
    """Write the shards ``missing`` on a Dask cluster whose workers see ``folder`` under the same path.

    Raises MicrotomoError when Dask is not installed, the scheduler does not answer or a shard cannot be written.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise MicrotomoError("--scheduler needs Dask: install it with pip install 'microtomo[cluster]'") from None
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MicrotomoError(f"no Dask scheduler answers at {address} ({error}): check the address") from None
    shards = config.shards()
    written = 0
    attempts = 0
    with client:
        while missing:
            futures = {client.submit(write_shard, config, seed, index, folder, pure=False): index for index in missing}
            for future in as_completed(futures, loop=client.loop):
                try:
                    future.result()
                except KilledWorker:
                    continue
                shard = shards[futures[future]]
                written += shard.stop - shard.start
                progress(written)
            left = _incomplete(config, seed, folder, missing)
            attempts = attempts + 1 if len(left) == len(missing) else 0
            missing = left
            _give_up_after(attempts, folder)


def _incomplete(config: DatasetConfig, seed: int, folder: Path, candidates: Sequence[int]) -> list[int]:
    shards = config.shards()
    return [i for i in candidates if not is_complete(shards[i].path(folder), config, seed, shards[i])]


def _give_up_after(attempts: int, folder: Path) -> None:
    if attempts >= _ATTEMPTS:
        raise MicrotomoError(
            f"{folder}: workers stopped {attempts} times without finishing a shard: check memory, that every worker "
            'sees this folder, and that a script which starts this guards itself with if __name__ == "__main__"'
        )


_counts: Any = None
_stop: Any = None


def _start_worker(counts: Any, stop: Any) -> None:
    global _counts, _stop
    _counts, _stop = counts, stop
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this worker when its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        _stop.value = 1
        time.sleep(1)
        os._exit(1)


def _write_in_worker(config: DatasetConfig, seed: int, index: int, folder: Path) -> None:
    def on_sample(count: int) -> None:
        _counts[index] = count
        if _stop.value:
            raise MicrotomoError("stopped")

    write_shard(config, seed, index, folder, on_sample)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
