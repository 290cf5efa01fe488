"""Search over settings of a training run: every combination of a grid, each scored on what it validates on."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.models.weights import read_card
from microtomo.training.config import RunConfig
from microtomo.training.run import run_training

TABLE, PICTURE = "search.csv", "search.png"


@dataclass(frozen=True)
class GridRun:
    """One combination of settings, the best validation score of its run, and the weights."""

    settings: Mapping[str, str]
    score: float
    weights: Path

    @property
    def name(self) -> str:
        """Such as ``blocks 7, features 16``."""
        return ", ".join(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in self.settings.items())


def read_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Values of each key from texts like ``network.features=8,16``. Raises MicrotomoError for one that is none."""
    grid = {}
    for text in texts:
        key, _, values = text.partition("=")
        grid[key.strip()] = [value.strip() for value in values.split(",")]
        if not key.strip() or not all(grid[key.strip()]):
            raise MicrotomoError(f"grid {text!r} is no choice of values: write --grid network.features=8,16")
    return grid


def search(
    configure: Callable[[list[str]], RunConfig],
    grid: Mapping[str, Sequence[str]],
    folder: str | Path,
    report: Callable[[str], None] = lambda line: None,
) -> list[GridRun]:
    """Train every combination of ``grid``, and return them with their scores, best first.

    ``configure`` turns overrides like ``network.features=8`` into a configuration; ``report`` gets a line a
    combination. Each run has a folder of its own in ``folder``: one that is finished is not trained again, one that was
    interrupted goes on. search.csv and search.png there show the scores. Raises MicrotomoError for settings that cannot
    be, before anything is trained, and for runs that validate nothing.
    """
    folder = Path(folder)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configurations = [configure([f"{key}={value}" for key, value in c.items()]) for c in combinations]
    if not all(config.validates for config in configurations):
        raise MicrotomoError("a search needs images kept apart to score on: set data.validation=0.2")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for combination, config in zip(combinations, configurations, strict=True):
        name = "_".join(f"{key}-{value}" for key, value in combination.items())
        weights = run_training(config, folder / re.sub(r"[^\w.+-]", "-", name))
        score = float(read_card(weights)[1][f"validation_{config.metric}"])
        runs.append(GridRun(combination, score, weights))
        report(f"{runs[-1].name}: {config.score} {score:.4f}")
    runs.sort(key=lambda run: -run.score)
    _write(runs, folder / TABLE, configurations[0].score)
    _draw(runs, folder / PICTURE, configurations[0].score)
    return runs


def _write(runs: Sequence[GridRun], path: Path, score: str) -> None:
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*runs[0].settings, score])
        table.writerows([*run.settings.values(), f"{run.score:.4f}"] for run in runs)


def _draw(runs: Sequence[GridRun], path: Path, score: str) -> None:
    """A dot a combination, best on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.3 * len(runs)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([run.score for run in runs], range(len(runs)), "o", color="#0072B2")
    axes.set_yticks(range(len(runs)), [run.name for run in runs])
    axes.set(xlabel=f"{score} on validation images", title="Search over settings")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
