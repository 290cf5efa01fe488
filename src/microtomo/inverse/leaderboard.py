"""Every method on the same scans: what each scores, beside what was published."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from microtomo.inverse.reconstruct import reconstruct
from microtomo.materials import Stack, load_stack
from microtomo.metrics import thickness_scores, voxel_scores
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_model
from microtomo.registry import Method
from microtomo.scan import Scan
from microtomo.seeds import NOISE, TEST_SEED, TRIAL_STRUCTURES, Stream, derive_seed
from microtomo.simulate.samples import draw_structures
from microtomo.simulate.scans import record
from microtomo.voxels import thickness_to_volume

SAMPLES = 40  # structures of a trial, unless more are asked for


@dataclass(frozen=True)
class Trial:
    """Scans to compare methods on."""

    name: str
    kind: str
    forward: str
    noise: float


TRIALS = [
    Trial("test set", "perlin", "published", 0.02),
    Trial("experimental structure", "experimental", "published", 0.02),
    Trial("test set, 5 % noise", "perlin", "published", 0.05),
    Trial("test set, 10 % noise", "perlin", "published", 0.10),
    Trial("test set, material contrast", "perlin", "material", 0.02),
    Trial("test set, transport", "perlin", "transport", 0.02),
    Trial("experimental structure, transport", "experimental", "transport", 0.02),
]


@dataclass(frozen=True)
class Entry:
    """Scores of one method in one trial: mIoU, recall and accuracy by the published protocol, pooled mIoU, thickness
    error [nm] and 95 % coverage a layer, median seconds a scan."""

    trial: str
    method: str
    samples: int
    published: float | None
    miou: float
    pooled_miou: float
    mrecall: float
    maccuracy: float
    iou: list[float]
    rmse_nm: list[float]
    coverage95: list[float]
    seconds: float


def scans_of(trial: Trial, samples: int, seed: int, stack: Stack, first: int = 0, size: int = 128) -> Scan:
    """The scans (n, e, y, x) of a trial with their truth, ``size`` pixels a side.

    Samples ``first`` to ``first + samples``: each is the same in whatever batch it comes.
    """
    numbers = range(1) if trial.kind == "experimental" else range(first, first + samples)
    model, detector = forward_model(trial.forward, stack), Detector(noise=trial.noise)
    truth = draw_structures(stack, trial.kind, seed, TRIAL_STRUCTURES, numbers, size, size)
    data = [
        record(thickness, model, detector, derive_seed(seed, Stream.SAMPLES, i, NOISE))
        for i, thickness in zip(numbers, truth, strict=True)
    ]
    return Scan(
        torch.stack(data),
        stack.energies_kev,
        stack=stack,
        forward=trial.forward,
        noise=trial.noise,
        truth=truth,
    )


def run_trial(trial: Trial, method: Method, samples: int = SAMPLES, seed: int = TEST_SEED) -> Entry:
    """Reconstruct the scans of a trial one by one (noise level estimated from each) and score them."""
    stack = load_stack("au-al-si")
    scan = scans_of(trial, samples, seed, stack)
    recs, seconds = [], []
    for signal in scan.data:
        started = time.perf_counter()
        recs.append(reconstruct(signal, method.name, forward=trial.forward, stack=stack))
        seconds.append(time.perf_counter() - started)
    classes = ["empty", *stack.symbols]
    truth = torch.as_tensor(scan.truth)
    voxels = voxel_scores(torch.stack([rec.volume for rec in recs]), thickness_to_volume(truth), classes)
    maps = thickness_scores(
        torch.stack([rec.thickness for rec in recs]), truth, torch.stack([rec.uncertainty for rec in recs])
    )
    return Entry(
        trial=trial.name,
        method=method.name,
        samples=len(recs),
        published=method.published_score(trial.name),
        miou=voxels.miou,
        pooled_miou=voxels.pooled_miou,
        mrecall=voxels.mrecall,
        maccuracy=voxels.maccuracy,
        iou=voxels.iou,
        rmse_nm=maps.rmse_nm,
        coverage95=maps.coverage95 or [],
        seconds=median(seconds),
    )


def run_all(
    methods: Iterable[Method],
    samples: int = SAMPLES,
    seed: int = TEST_SEED,
    done: Callable[[Entry], None] = lambda entry: None,
) -> list[Entry]:
    """Every method in every trial that it is ready for; ``done`` is called with each entry."""
    entries = []
    for trial in TRIALS:
        for method in methods:
            if method.ready(trial.forward):
                entries.append(run_trial(trial, method, samples, seed))
                done(entries[-1])
    return entries


def as_json(entries: Iterable[Any], samples: int, seed: int, machine: str) -> str:
    """Entries (data classes) with what they were measured on; ``weights/scores-TASK.json`` keeps that of a release."""
    summary = {"samples": samples, "seed": seed, "machine": machine, "entries": [asdict(entry) for entry in entries]}
    return json.dumps(summary, indent=1)
