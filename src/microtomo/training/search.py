"""Search over settings of a training run: every combination of a grid, each scored on what it validates on."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.models.weights import Family, card_of
from microtomo.training.config import RunConfig
from microtomo.training.run import train

TABLE, PICTURE = "search.csv", "search.png"


@dataclass(frozen=True)
class Trial:
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
    family: Family[Any, Any],
    tell: Callable[[str], None] = lambda line: None,
) -> list[Trial]:
    """Train every combination of ``grid``, and return them with their scores, best first.

    ``configure`` turns overrides like ``network.features=8`` into a configuration. Each run has a folder of its own
    in ``folder``: one that is finished is not trained again, one that was interrupted goes on. search.csv and
    search.png there show the scores. Raises MicrotomoError for settings that cannot be, before anything is trained,
    and for runs that validate nothing.
    """
    try:
        import optuna
    except ImportError:
        raise MicrotomoError('a search needs Optuna: pip install "microtomo[search]"') from None
    folder, trials = Path(folder), []
    for key, values in grid.items():
        for value in values:
            if not configure([f"{key}={value}"]).validates:
                raise MicrotomoError("a search needs images kept apart to score on: set data.validation=0.2")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)

    def objective(trial: optuna.Trial) -> float:
        chosen = {key: str(trial.suggest_categorical(key, values)) for key, values in grid.items()}
        config = configure([f"{key}={value}" for key, value in chosen.items()])
        name = "_".join(f"{key}-{value}" for key, value in chosen.items())
        weights = train(config, folder / re.sub(r"[^\w.+-]", "-", name))
        score = float(card_of(weights, family)[1][f"validation_{config.metric}"])
        trials.append(Trial(chosen, score, weights))
        tell(f"{trials[-1].name}: {config.score} {score:.4f}")
        return score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.GridSampler(grid, seed=0)  # an order that depends on the grid alone
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective)
    trials.sort(key=lambda trial: -trial.score)
    score = configure([]).score
    _write(trials, folder / TABLE, score)
    _draw(trials, folder / PICTURE, score)
    return trials


def _write(trials: Sequence[Trial], path: Path, score: str) -> None:
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*trials[0].settings, score])
        table.writerows([*trial.settings.values(), f"{trial.score:.4f}"] for trial in trials)


def _draw(trials: Sequence[Trial], path: Path, score: str) -> None:
    """A dot a combination, best on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.3 * len(trials)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([trial.score for trial in trials], range(len(trials)), "o", color="#0072B2")
    axes.set_yticks(range(len(trials)), [trial.name for trial in trials])
    axes.set(xlabel=f"{score} on validation images", title="Search over settings")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
