"""The whole reproduction: what is missing is computed, then everything is drawn and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microtomo.io.atomic import writing
from microtomo.reproduce.sem.pictures import drawings
from microtomo.reproduce.sem.plan import Settings, costings, own, tasks
from microtomo.reproduce.sem.report import write
from microtomo.reproduce.sem.training import runs
from microtomo.reproduce.sem.work import Progress, Step, Work
from microtomo.viz.gl import offscreen_works

_DRAWING = 25.0  # seconds that figures and page take, about


@dataclass(frozen=True)
class Reproduced:
    """Where the page is, how many steps were computed anew, which figures are below the published ones, and what could
    not be drawn."""

    page: Path
    computed: int
    below: list[str]
    notes: list[str]


def reproduce(
    folder: Path, settings: Settings, workers: int = 1, progress: Progress = lambda done, total, label: None
) -> Reproduced:
    """Compute every table and figure of the report into ``folder``, or go on where it was interrupted.

    Raises MicrotomoError where the folder holds other things, cannot be written or a worker was killed.
    """
    settings.check()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    own(folder, settings)
    missing_gl = offscreen_works()
    stages: list[tuple[Sequence[Step], bool]] = [
        ([*(task for batches in tasks(settings).values() for task in batches), *runs(settings)], False),
        (drawings(settings) if missing_gl is None else [], False),
        (costings(settings), True),
    ]
    planned = sum(step.weight for steps, _ in stages for step in steps) + _DRAWING
    with Work(folder, workers, planned, progress) as work:
        computed = sum(work.do(steps, alone=alone) for steps, alone in stages)
    page, below = write(folder, settings, with_3d=missing_gl is None)
    progress(planned, planned, "page")
    return Reproduced(page, computed, below, [] if missing_gl is None else [f"no 3D pictures: {missing_gl}"])
