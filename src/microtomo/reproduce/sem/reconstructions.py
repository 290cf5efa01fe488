"""Reconstruct a few structures by one method and keep what tables and figures need, under a hash of everything that
decides it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microtomo.errors import MicrotomoError
from microtomo.inverse.leaderboard import Trial, scans_of
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.atomic import whole_file, writing
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.io.scans import Truth, read_truth
from microtomo.materials import Stack, load_stack
from microtomo.metrics import VoxelScores, confusion_scores, voxel_confusion
from microtomo.registry import get_method
from microtomo.reproduce.sem.chart import cell_errors, chart_scans
from microtomo.scan import Reconstruction, Scan
from microtomo.simulate.workers import Advance, unobserved
from microtomo.voxels import thickness_to_volume

STACK = "au-al-si"
_SECONDS = {"map": 0.7, "likelihood": 1.0}  # a scan of 128 x 128 pixels, about, on one core
_SECONDS_ELSE = 0.45  # of any other method


@dataclass(frozen=True)
class ReconstructionJob:
    """Structures ``first`` to ``first + count`` of a trial by one method; of the first ``kept`` the whole
    reconstruction is written as well."""

    trial: Trial
    method: str
    first: int
    count: int
    size: int
    seed: int
    kept: int = 0

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"{self.method}, {self.trial.kind}, {self.trial.forward}, {self.trial.noise:.1%} noise"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        return self.count * _SECONDS.get(self.method, _SECONDS_ELSE) * (self.size / 128) ** 2

    def described(self) -> dict[str, Any]:
        """Everything that decides the result."""
        weights = get_method(self.method).weights
        digest = None if weights is None else _digest(weights(self.trial.forward))
        return {"version": version("microtomo"), "weights": digest, **asdict(self)}

    def path(self, folder: Path) -> Path:
        """Where its result stands."""
        name = sha256(json.dumps(self.described(), sort_keys=True).encode()).hexdigest()[:20]
        return folder / "cache" / f"{name}.json"

    def done(self, folder: Path) -> bool:
        """Whether its result is there, whole."""
        return self.read(folder) is not None and (not self.kept or read_kept(self, folder) is not None)

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Compute the result and write it. Raises MicrotomoError where it cannot be written."""
        stack = load_stack(STACK)
        scan = scans(self, stack)
        recs = [reconstruct(signal, self.method, forward=self.trial.forward, stack=stack) for signal in scan.data]
        classes = ["empty", *stack.symbols]
        truth = torch.as_tensor(scan.truth)
        volumes = torch.stack([rec.volume for rec in recs])
        confusion = voxel_confusion(volumes, thickness_to_volume(truth), classes)
        thickness = torch.stack([rec.thickness for rec in recs])
        error = thickness.double() - truth.double()
        inside = error.abs() <= 1.96 * torch.stack([rec.uncertainty for rec in recs]).double() + 1e-9
        result = {
            "confusion": confusion.long().tolist(),
            "squares": (error**2).mean((2, 3)).tolist(),
            "inside": inside.double().mean((2, 3)).tolist(),
            "cells": cell_errors(error, truth).tolist() if self.trial.kind == "chart" else None,
        }
        path = self.path(folder)
        if self.kept:
            write_reconstruction(path.with_suffix(".h5"), _joined(recs[: self.kept]), truth=truth[: self.kept])
        with whole_file(path) as temporary, writing(path):
            temporary.write_text(json.dumps({"task": self.described(), **result}))

    def read(self, folder: Path) -> Statistics | None:
        """The result, None where there is none that is whole."""
        try:
            stored = json.loads(self.path(folder).read_text())
            if stored["task"] != json.loads(json.dumps(self.described())):
                return None
            cells = stored["cells"]
            statistics = Statistics(
                torch.tensor(stored["confusion"], dtype=torch.float64),
                torch.tensor(stored["squares"], dtype=torch.float64),
                torch.tensor(stored["inside"], dtype=torch.float64),
                None if cells is None else torch.tensor(cells, dtype=torch.float64),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return statistics if statistics.samples == self.count else None


@dataclass(frozen=True)
class Statistics:
    """What tables and figures need of n structures: voxel counts (n, c, c), mean squared thickness error [nm^2] and
    share of pixels in their 95 % interval (n, l), and for charts the mean squared error by thickness (n, l, Au, Al)."""

    confusion: torch.Tensor
    squares: torch.Tensor
    inside: torch.Tensor
    cells: torch.Tensor | None

    @property
    def samples(self) -> int:
        """Number of structures."""
        return len(self.confusion)

    @property
    def scores(self) -> VoxelScores:
        """Voxel scores, published protocol and pooled."""
        return confusion_scores(self.confusion, ["empty", *load_stack(STACK).symbols])

    @property
    def standard_error(self) -> float:
        """Standard error of the mean IoU over structures; NaN for one structure."""
        each = [confusion_scores(one[None], ["empty", *load_stack(STACK).symbols]).miou for one in self.confusion]
        return float(np.std(each, ddof=1) / len(each) ** 0.5) if len(each) > 1 else float("nan")

    @property
    def rmse_nm(self) -> list[float]:
        """Root mean square thickness error [nm] a layer."""
        return [float(v) for v in self.squares.mean(0).sqrt()]


def scans(job: ReconstructionJob, stack: Stack) -> Scan:
    """The scans of a job with their truth."""
    if job.trial.kind == "chart":
        return chart_scans(stack, job.trial, job.first, job.count, job.size, job.seed)
    return scans_of(job.trial, job.count, job.seed, stack, job.first, job.size)


def collect(jobs: Iterable[ReconstructionJob], folder: Path) -> Statistics:
    """The results of jobs together. Raises MicrotomoError where one is missing."""
    read = [job.read(folder) for job in jobs]
    if any(one is None for one in read):
        raise MicrotomoError(f"{folder}: a result is missing or damaged: run the same command again")
    parts = [one for one in read if one is not None]
    cells = [one.cells for one in parts if one.cells is not None]
    return Statistics(
        torch.cat([one.confusion for one in parts]),
        torch.cat([one.squares for one in parts]),
        torch.cat([one.inside for one in parts]),
        torch.cat(cells) if cells else None,
    )


def read_kept(job: ReconstructionJob, folder: Path) -> tuple[Reconstruction, Truth] | None:
    """The reconstructions that a job wrote, and their truth; None where they are not there, whole."""
    path = job.path(folder).with_suffix(".h5")
    try:
        return read_reconstruction(path), read_truth(path)
    except MicrotomoError:
        return None


@lru_cache(maxsize=32)
def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _joined(recs: Sequence[Reconstruction]) -> Reconstruction:
    names = ("thickness", "uncertainty", "volume", "chi_square", "status")
    together: dict[str, Any] = {name: torch.stack([getattr(rec, name) for rec in recs]) for name in names}
    return replace(recs[0], **together)
