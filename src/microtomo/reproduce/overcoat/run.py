"""The whole reproduction: what is missing is computed, then everything is drawn and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from microtomo.io.atomic import writing
from microtomo.io.folders import claim_folder
from microtomo.reproduce.overcoat.jobs import FoldJob
from microtomo.reproduce.overcoat.plan import REGRESSORS, Settings
from microtomo.reproduce.overcoat.report import write
from microtomo.simulate.workers import run_here, run_in_workers

_DRAWING_S = 10.0  # that figures and page take, about, on two cores

Progress = Callable[[float, float, str], None]
"""Called with the seconds of work that are done and all there are, about, and what was finished last."""


@dataclass(frozen=True)
class Reproduced:
    """Where the page is, how many jobs were computed anew, and which figures are worse than the published ones."""

    page: Path
    computed: int
    worse: list[str]


def reproduce(
    folder: Path, settings: Settings, workers: int = 1, progress: Progress = lambda done, total, label: None
) -> Reproduced:
    """Compute tables and figures of the paper into ``folder``, or go on where it was interrupted.

    Raises MicrotomoError where the folder holds other things, cannot be written, or workers are killed again and again.
    """
    settings.check()
    groups = planned(settings)
    total = sum(job.weight for jobs in groups for job in jobs) + _DRAWING_S
    with claim_folder(folder, "settings.json", settings.model_dump(mode="json"), "reproduction") as folder:
        for part in ("cache", "training", "tables", "figures"):
            with writing(folder):
                (folder / part).mkdir(parents=True, exist_ok=True)
        before, computed = 0.0, 0
        for jobs in groups:
            missing = [job for job in jobs if not job.done(folder)]
            before += sum(job.weight for job in jobs if job not in missing)

            def advance(done: float, label: str, before: float = before) -> None:
                progress(before + done, total, label)

            if workers > 1 and len(missing) > 1:
                run_in_workers(missing, folder, workers, advance)
            else:
                run_here(missing, folder, advance)
            before += sum(job.weight for job in missing)
            computed += len(missing)
        page, worse = write(folder, settings, [job for jobs in groups for job in jobs])
    progress(total, total, "page")
    return Reproduced(page, computed, worse)


def planned(settings: Settings) -> list[Sequence[FoldJob]]:
    """Networks, then the regressors, of which one takes their masks."""
    masks = "layer-nasnet" if "layer-nasnet" in settings.networks else settings.networks[-1]
    folds = range(settings.folds)
    networks = [FoldJob(name, k, settings) for name in settings.compared for k in folds]
    regressors = [
        FoldJob(name, k, settings, masks if name == "layer-rcnn" else "") for name in REGRESSORS for k in folds
    ]
    return [networks, regressors]
