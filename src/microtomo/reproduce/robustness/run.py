"""The whole benchmark: what is missing is computed, then the page is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microtomo.io.atomic import writing
from microtomo.io.folders import claim_folder
from microtomo.reproduce.robustness.page import write_page
from microtomo.reproduce.robustness.trials import Settings, trials
from microtomo.simulate.workers import run_here, run_in_workers

Progress = Callable[[float, float, str], None]
"""Called with the seconds of work that are done and all there are, about, and what was finished last."""


@dataclass(frozen=True)
class Benchmark:
    """Where the page is, how many trials were computed anew, and the verdicts: faults caught of all, and right scans
    doubted or changed of all."""

    page: Path
    computed: int
    caught: int
    faulty: int
    false_alarms: int
    right: int


def run_benchmark(
    folder: Path, settings: Settings, workers: int = 1, progress: Progress = lambda done, total, label: None
) -> Benchmark:
    """Compute the benchmark into ``folder``, or go on where it was interrupted.

    Raises MicrotomoError where the folder holds other things or cannot be written.
    """
    settings.check()
    wanted = list(trials(settings))
    planned = sum(trial.weight for trial in wanted)
    with claim_folder(folder, "settings.json", settings.model_dump(mode="json"), "benchmark of robustness") as folder:
        for part in ("cache", "tables", "figures"):
            with writing(folder):
                (folder / part).mkdir(parents=True, exist_ok=True)
        missing = [trial for trial in wanted if not trial.done(folder)]
        before = planned - sum(trial.weight for trial in missing)

        def advance(done: float, label: str) -> None:
            progress(before + done, planned, label)

        if workers > 1 and len(missing) > 1:
            run_in_workers(missing, folder, workers, advance)
        else:
            run_here(missing, folder, advance)
        results = {trial: outcome for trial in wanted if (outcome := trial.read(folder)) is not None}
        page = write_page(folder, settings, results)
    first = settings.faults[0]
    faulty = [o.right for t, o in results.items() if t.fault != first]
    right = [o.right for t, o in results.items() if t.fault == first]
    return Benchmark(page, len(missing), sum(faulty), len(faulty), len(right) - sum(right), len(right))
