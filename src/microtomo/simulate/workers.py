"""Jobs that write their result once and for all: in this process, in worker processes or on a Dask cluster.

A worker that is killed is replaced, and what it left undone is done again.
"""

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
from typing import Any, Protocol

import torch

from microtomo.errors import MicrotomoError

_ATTEMPTS = 3  # pools without a finished job, one after the other, before all is given up
_POLL_S = 0.2  # between looks at workers
_GRACE_S = 1.0  # for a worker that is told to stop to remove its half-written file
_SAFE_PATH = "PYTHONSAFEPATH"
_CLUSTER_TIMEOUT_S = 10.0  # until the scheduler of a cluster must have answered

Advance = Callable[[float], None]
"""Called inside a job with its share that is done, 0 to 1; raises where the job is to stop."""
Progress = Callable[[float, str], None]
"""Called with the weight of everything that is done by now, and the label of the job that was finished last."""


def unobserved(share: float) -> None:
    """An :data:`Advance` that nobody listens to."""


class Job(Protocol):
    """Work that leaves a result in a folder. It is pickled on its way to a worker."""

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""

    @property
    def weight(self) -> float:
        """How much work it is, in units that all jobs of a run share: seconds, samples."""

    def done(self, folder: Path) -> bool:
        """Whether its result is there, whole."""

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Compute the result and write it whole or not at all."""


def default_workers() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(jobs: Sequence[Job], folder: Path, progress: Progress) -> None:
    """Run jobs one after the other in this process: right for what takes seconds, as worker processes do
    to start."""
    before = 0.0
    for job in jobs:

        def advance(share: float, before: float = before, job: Job = job) -> None:
            progress(before + share * job.weight, job.label)

        job.run(folder, advance)
        before += job.weight
        progress(before, job.label)


def run_in_workers(jobs: Sequence[Job], folder: Path, workers: int, progress: Progress) -> None:
    """Run jobs in processes of one thread each, in the order given.

    Raises MicrotomoError when a job fails, or workers die three times without finishing one.
    """
    total = sum(job.weight for job in jobs)

    def run_round(left: Sequence[Job]) -> None:
        before = total - sum(job.weight for job in left)
        _run_in_pool(left, folder, workers, lambda done, label: progress(before + done, label))

    _until_done(jobs, folder, run_round)


def run_on_cluster(jobs: Sequence[Job], folder: Path, address: str, progress: Progress) -> None:
    """Run jobs on a Dask cluster whose workers see ``folder`` under the same path.

    Raises MicrotomoError when Dask is not installed, the scheduler does not answer or a job fails.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise MicrotomoError("--scheduler needs Dask: install it with pip install 'microtomo[cluster]'") from None
    try:
        client = Client(address, timeout=_CLUSTER_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MicrotomoError(f"no Dask scheduler answers at {address} ({error}): check the address") from None
    done = 0.0

    def run_round(left: Sequence[Job]) -> None:
        nonlocal done
        futures = {client.submit(job.run, folder, pure=False): job for job in left}
        for future in as_completed(futures, loop=client.loop):
            try:
                future.result()
            except KilledWorker:
                continue
            done += futures[future].weight
            progress(done, futures[future].label)

    with client:
        _until_done(jobs, folder, run_round)


def _until_done(jobs: Sequence[Job], folder: Path, run_round: Callable[[Sequence[Job]], None]) -> None:
    attempts = 0
    while jobs:
        run_round(jobs)
        left = [job for job in jobs if not job.done(folder)]
        attempts = attempts + 1 if len(left) == len(jobs) else 0
        jobs = left
        if attempts >= _ATTEMPTS:
            raise MicrotomoError(
                f"{folder}: workers stopped {attempts} times without finishing a job: take fewer --workers if memory "
                "is short; check that every worker sees this folder, and that a script which starts this guards itself "
                'with if __name__ == "__main__"'
            )


def _run_in_pool(jobs: Sequence[Job], folder: Path, workers: int, progress: Progress) -> None:
    """One pool of workers; returns early where one of them is killed."""
    with importing_nothing_here():
        _run_workers(jobs, folder, workers, progress)


def _run_workers(jobs: Sequence[Job], folder: Path, workers: int, progress: Progress) -> None:
    context = multiprocessing.get_context("spawn")
    shares = context.RawArray("d", len(jobs))  # without a lock, which a dead worker could hold
    stop = context.RawValue("b", 0)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _start_worker, (shares, stop))
    label = ""
    try:
        with _interrupts_blocked():  # workers inherit it: Ctrl-C is for this process, which stops them
            waiting: dict[Future[None], Job] = {
                pool.submit(_run_job, job, i, folder): job for i, job in enumerate(jobs)
            }
        while waiting:
            finished, _ = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                label = waiting.pop(future).label
            progress(sum(share * job.weight for share, job in zip(shares, jobs, strict=True)), label)
    except BrokenProcessPool:
        pass
    except BaseException:
        stop.value = 1
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def importing_nothing_here() -> Iterator[None]:
    """Processes that are started in the block do not import from the current folder, where data of others may lie."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


_shares: Any = None
_stop: Any = None


def _start_worker(shares: Any, stop: Any) -> None:
    global _shares, _stop
    _shares, _stop = shares, stop
    import numba

    torch.set_num_threads(1)
    numba.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended, or says so."""
    parent = multiprocessing.parent_process()
    while parent is not None and not _stop.value:
        if wait_for([parent.sentinel], timeout=_POLL_S):
            break
    _stop.value = 1
    time.sleep(_GRACE_S)
    os._exit(1)


def _run_job(job: Job, index: int, folder: Path) -> None:
    def advance(share: float) -> None:
        _shares[index] = share
        if _stop.value:
            raise MicrotomoError("stopped")

    job.run(folder, advance)
    _shares[index] = 1.0


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
