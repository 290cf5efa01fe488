"""Steps that write their result once and for all, done by a few processes side by side; none is done twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from microtomo.errors import MicrotomoError


class Step(Protocol):
    """A piece of work with a result under the folder: what it is called, about how many seconds it takes, whether its
    result is there, and the work."""

    @property
    def label(self) -> str:
        """What a person is told while it runs."""

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""

    def done(self, folder: Path) -> bool:
        """Whether its result is there, whole."""

    def run(self, folder: Path) -> None:
        """Compute the result and write it whole or not at all."""


Progress = Callable[[float, float, str], None]
"""Told the weight done by now, the weight of all, and what was done last."""


class Work:
    """Does steps and tells how far all of them are: ``planned`` is the weight of everything that will ever be asked.

    A context manager: its worker processes start with the first steps and end with it.
    """

    def __init__(self, folder: Path, workers: int, planned: float, progress: Progress) -> None:
        self.folder, self.workers, self.planned, self.progress = folder, workers, planned, progress
        self.finished = 0.0
        self._pool: ProcessPoolExecutor | None = None
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.RawValue("b", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop.value = 1
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def do(self, steps: Sequence[Step], alone: bool = False) -> int:
        """Do what is not done yet, the longest first; ``alone``: one after the other in this process. Returns how many
        steps were done.

        Raises MicrotomoError where a result cannot be written or a worker was killed.
        """
        missing = []
        for step in steps:
            if step.done(self.folder):
                self._tell(step)
            else:
                missing.append(step)
        missing.sort(key=lambda step: -step.weight)
        if alone or self.workers == 1 or len(missing) < 2:
            for step in missing:
                step.run(self.folder)
                self._tell(step)
        else:
            self._side_by_side(missing)
        return len(missing)

    def _tell(self, step: Step) -> None:
        self.finished += step.weight
        self.progress(min(self.finished, self.planned), self.planned, step.label)

    def _side_by_side(self, missing: Sequence[Step]) -> None:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=self._context, initializer=_start_worker, initargs=(self._stop,)
            )
        try:
            waiting: dict[Future[None], Step] = {self._pool.submit(step.run, self.folder): step for step in missing}
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    step = waiting.pop(future)
                    future.result()
                    self._tell(step)
        except BrokenProcessPool:
            raise MicrotomoError(
                f"{self.folder}: a worker was killed, for lack of memory perhaps: what is finished is kept, run the "
                "same command again with fewer --workers"
            ) from None


def _start_worker(stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which tells the workers
    torch.set_num_threads(1)
    import numba

    numba.set_num_threads(1)
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()


def _follow_parent(stop: Any) -> None:
    """End this worker when its parent is gone, however that ended, or says so."""
    parent = multiprocessing.parent_process()
    while parent is not None and not stop.value:
        if wait_for([parent.sentinel], timeout=0.3):
            break
    os._exit(1)
