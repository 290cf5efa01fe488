"""What is computed: how many structures, at which noise levels, by which methods."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError
from microtomo.inverse.leaderboard import Trial
from microtomo.registry import Method, get_method, list_methods
from microtomo.reproduce.sem.cost import CostJob
from microtomo.reproduce.sem.reconstructions import ReconstructionJob
from microtomo.seeds import TEST_SEED

Count = Annotated[int, Field(ge=1, le=10**6)]

NOISE = 0.02
"""Relative noise of the report's scans."""
REPORTED = "published"
"""The report's forward model."""
FORWARD_MODELS = ("material", REPORTED)
"""Forward models whose stability is shown."""
NUMERICAL = (0.0, 0.005, 0.01, 0.02, 0.05, 0.10)
"""Noise levels of Table 2.3."""
NUMERICAL_METHODS = ("tikhonov", "map")
"""Methods of Table 2.3: the report's, and ours."""


class Settings(BaseModel):
    """One reproduction. ``samples``: test structures of Tables 1.1 and 1.2; ``swept``: of these, how many at every
    other noise level and contrast; ``charts``: charts of thickness pairs; ``examples``: test structures that are shown;
    ``batch``: structures between two saves; ``train_pixels``, ``train_width``, ``train_samples``: image side, first
    channels and samples of the training experiments; ``methods``: only these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Count = 1000
    swept: Count = 40
    charts: Count = 8
    examples: Count = 4
    noises: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.10)
    size: Annotated[int, Field(ge=16, le=4096)] = 128
    batch: Count = 10
    timed: Count = 3
    train_pixels: Annotated[int, Field(ge=16, le=512)] = 64
    train_width: Annotated[int, Field(ge=2, le=512)] = 16
    train_samples: Count = 6000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = TEST_SEED
    methods: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raises MicrotomoError for methods that are not there."""
        for name in self.methods or ():
            if get_method(name).task != "layers":
                raise MicrotomoError(f"method {name} is not for scans: see `microtomo models`")

    def chosen(self, contrast: str) -> list[Method]:
        """Methods that run for a contrast without training."""
        wanted = [m for m in list_methods(task="layers") if self.methods is None or m.name in self.methods]
        return [m for m in wanted if m.ready(contrast)]

    def untrained(self, contrast: str) -> list[str]:
        """Names of the methods that have no weights for a contrast."""
        ready = {m.name for m in self.chosen(contrast)}
        wanted = [m.name for m in list_methods(task="layers") if self.methods is None or m.name in self.methods]
        return [name for name in wanted if name not in ready]


QUICK = Settings(
    samples=16, swept=3, charts=2, noises=(0.0, 0.01, 0.02, 0.05, 0.10), batch=4, timed=1, train_pixels=32,
    train_width=8, train_samples=1600,
)  # fmt: skip
"""About five minutes on two cores."""


def perlin(contrast: str, noise: float) -> Trial:
    """The test set in a contrast and at a noise level."""
    return Trial("perlin", "perlin", contrast, noise)


def chart(contrast: str) -> Trial:
    """Charts of all pairs of thickness."""
    return Trial("chart", "chart", contrast, NOISE)


def experimental(noise: float) -> Trial:
    """The experimental structure, contrast as published."""
    return Trial("experimental", "experimental", "published", noise)


def reconstruction_jobs(settings: Settings) -> dict[tuple[Trial, str], list[ReconstructionJob]]:
    """All reconstructions by trial and method, in batches."""
    planned: dict[tuple[Trial, str], list[ReconstructionJob]] = {}

    def plan(trial: Trial, method: str, count: int, kept: int = 0) -> None:
        """``count`` structures; of the first ``kept`` the reconstruction is written, to be shown."""
        planned[trial, method] = [
            ReconstructionJob(trial, method, first, min(settings.batch, count - first), settings.size, settings.seed,
                 max(0, min(settings.batch, kept - first)))
            for first in range(0, count, settings.batch)
        ]  # fmt: skip

    for forward in FORWARD_MODELS:
        for method in (m.name for m in settings.chosen(forward)):
            for noise in settings.noises:
                plan(perlin(forward, noise), method, settings.swept)
            plan(chart(forward), method, settings.charts)
            if forward == REPORTED:
                plan(perlin(forward, NOISE), method, settings.samples, min(settings.examples, settings.samples))
                for noise in NUMERICAL if method in NUMERICAL_METHODS else (NOISE,):
                    plan(experimental(noise), method, 1, 1)
    return planned


def cost_jobs(settings: Settings) -> list[CostJob]:
    """Time and memory of each method on scans of the test set."""
    trial = perlin("published", NOISE)
    return [CostJob(trial, m.name, settings.size, settings.seed, settings.timed) for m in settings.chosen("published")]
