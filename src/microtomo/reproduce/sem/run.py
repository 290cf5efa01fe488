"""The whole reproduction: what is missing is computed, then everything is drawn and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from microtomo.io.atomic import writing
from microtomo.io.folders import claim_folder
from microtomo.reproduce.sem.pictures import drawings
from microtomo.reproduce.sem.plan import Settings, cost_jobs, reconstruction_jobs
from microtomo.reproduce.sem.report import write
from microtomo.reproduce.sem.training import training_jobs
from microtomo.simulate.workers import Job, run_here, run_in_workers
from microtomo.viz.gl import offscreen_works

_DRAWING_S = 25.0  # that figures and page take, about, on two cores

Progress = Callable[[float, float, str], None]
"""Called with the seconds of work that are done and all there are, about, and what was finished last."""


@dataclass(frozen=True)
class Reproduced:
    """Where the page is, how many jobs were computed anew, which figures are below the published ones, and what could
    not be drawn."""

    page: Path
    computed: int
    below: list[str]
    notes: list[str]


def reproduce(
    folder: Path, settings: Settings, workers: int = 1, progress: Progress = lambda done, total, label: None
) -> Reproduced:
    """Compute every table and figure of the report into ``folder``, or go on where it was interrupted.

    Raises MicrotomoError where the folder holds other things, cannot be written, or workers are killed again and again.
    """
    settings.check()
    missing_gl = offscreen_works()
    groups: list[tuple[Sequence[Job], int]] = [  # jobs, and how many run side by side
        ([*chain.from_iterable(reconstruction_jobs(settings).values()), *training_jobs(settings)], workers),
        (drawings(settings) if missing_gl is None else [], workers),
        (cost_jobs(settings), 1),
    ]
    planned = sum(job.weight for jobs, _ in groups for job in jobs) + _DRAWING_S
    kind = "reproduction of the report"
    with claim_folder(folder, "settings.json", settings.model_dump(mode="json"), kind) as folder:
        for part in ("cache", "tables", "figures"):
            with writing(folder):
                (folder / part).mkdir(parents=True, exist_ok=True)
        before, computed = 0.0, 0
        for jobs, side_by_side in groups:
            computed += _compute(jobs, folder, side_by_side, before, planned, progress)
            before += sum(job.weight for job in jobs)
        page, below = write(folder, settings, with_3d=missing_gl is None)
    progress(planned, planned, "page")
    return Reproduced(page, computed, below, [] if missing_gl is None else [f"no 3D pictures: {missing_gl}"])


def _compute(jobs: Sequence[Job], folder: Path, workers: int, before: float, planned: float, progress: Progress) -> int:
    """Run the jobs that have no result yet, the longest first; returns how many. ``before`` is the weight of others."""
    finished: list[Job] = []
    missing: list[Job] = []
    for job in jobs:
        (finished if job.done(folder) else missing).append(job)
    missing.sort(key=lambda job: -job.weight)
    before += sum(job.weight for job in finished)

    def advance(done: float, label: str) -> None:
        progress(before + done, planned, label)

    if finished:
        advance(0.0, finished[-1].label)
    if workers > 1 and len(missing) > 1:
        run_in_workers(missing, folder, workers, advance)
    else:
        run_here(missing, folder, advance)
    return len(missing)
