"""One scan with one fault, reconstructed by one method, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.atomic import whole_file, writing
from microtomo.materials import load_stack
from microtomo.metrics import thickness_scores, voxel_scores
from microtomo.physics.detector import Detector
from microtomo.physics.forward import ForwardModel, forward_model
from microtomo.registry import get_method
from microtomo.scan import Verdict
from microtomo.seeds import TEST_SEED, Stream
from microtomo.simulate.faults import FAULTS, Recording
from microtomo.simulate.samples import draw_structure
from microtomo.simulate.workers import Advance, unobserved
from microtomo.voxels import thickness_to_volume

STACK = "au-al-si"
_SECONDS = 1.5  # a scan, about, on one core

Positive = Annotated[int, Field(ge=1, le=1000)]


class Settings(BaseModel):
    """What is computed: methods, structures and noise levels, scans of each, and with which faults.

    At noise levels beyond the first only scans without a fault are looked at. ``seed`` draws structures, noise and
    faults from a stream of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[str, ...] = ("map", "likelihood", "unet")
    forwards: tuple[str, ...] = ("material", "transport")
    kinds: tuple[str, ...] = ("perlin", "experimental", "lithography", "continuous")
    noises: tuple[float, ...] = (0.02, 0.05, 0.1)
    faults: tuple[str, ...] = tuple(fault.name for fault in FAULTS)
    samples: Positive = 4
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    seed: int = TEST_SEED

    def check(self) -> None:
        """Raise MicrotomoError for methods, forward models or faults that there are not."""
        for method in self.methods:
            get_method(method)
        for forward in self.forwards:
            forward_model(forward, load_stack(STACK))
        unknown = set(self.faults) - {fault.name for fault in FAULTS}
        if unknown:
            known = ", ".join(fault.name for fault in FAULTS)
            raise MicrotomoError(f"unknown faults {', '.join(sorted(unknown))}: there are {known}")


QUICK = Settings(methods=("map",), kinds=("perlin", "experimental"), noises=(0.02,), samples=1)
"""Minutes: one method, one scan of each."""


@dataclass(frozen=True)
class Outcome:
    """Scores of one reconstruction: mean IoU, thickness error [nm] a layer, 95 % coverage a layer where it is present
    (None: nowhere), and what the verdict was: trusted, ``right`` about that, and ``named`` a cause that is the fault's.
    """

    miou: float
    rmse_nm: list[float]
    coverage: list[float | None]
    trusted: bool
    right: bool
    named: bool
    mended: bool
    rejected: int
    verdict: str


@dataclass(frozen=True)
class Trial:
    """A scan to be made and reconstructed; its result stands under a hash of everything that decides it."""

    method: str
    forward: str
    kind: str
    noise: float
    fault: str
    sample: int
    size: int
    seed: int

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"{self.method}, {self.forward}, {self.kind}, {self.noise:.0%} noise, {self.fault}"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        return _SECONDS * (self.size / 128) ** 2

    def path(self, folder: Path) -> Path:
        """Where its result stands."""
        described = json.dumps({"version": version("microtomo"), **asdict(self)}, sort_keys=True)
        return folder / "cache" / f"{sha256(described.encode()).hexdigest()[:20]}.json"

    def done(self, folder: Path) -> bool:
        """Whether its result is there, whole."""
        return self.read(folder) is not None

    def read(self, folder: Path) -> Outcome | None:
        """The result, None where there is none that is whole."""
        try:
            stored = json.loads(self.path(folder).read_text(encoding="utf-8"))
            return Outcome(**stored["outcome"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Compute the result and write it. Raises MicrotomoError where it cannot be written."""
        path = self.path(folder)
        with whole_file(path) as temporary, writing(path):
            temporary.write_text(json.dumps({"trial": asdict(self), "outcome": asdict(self.outcome())}))

    def outcome(self) -> Outcome:
        """Record the scan, reconstruct it, and score it."""
        model = _model(self.forward)
        stack = model.stack
        fault = next(f for f in FAULTS if f.name == self.fault)
        place = (self.seed, int(Stream.ROBUSTNESS), self.sample)
        truth = draw_structure(stack, self.kind, *place, self.size, self.size)
        scan = fault.record(Recording(truth, model, Detector(noise=self.noise), place))
        rec = reconstruct(scan, self.method, forward=model)
        found = rec.verdicts[0]
        maps = thickness_scores(rec.thickness, truth, rec.uncertainty)
        classes = ["empty", *stack.symbols]
        return Outcome(
            miou=voxel_scores(rec.volume, thickness_to_volume(truth), classes).miou,
            rmse_nm=maps.rmse_nm,
            coverage=[None if c != c else c for c in maps.coverage95_present or []],
            trusted=found.trusted,
            right=verdict_is_right(found, self.fault),
            named=found.cause in fault.causes or (found.trusted and _mended(found)) or not fault.causes,
            mended=_mended(found),
            rejected=found.rejected,
            verdict=found.line,
        )


def verdict_is_right(found: Verdict, fault: str) -> bool:
    """Whether a scan without a fault is left as it is and trusted, and one with a fault doubted or mended."""
    if fault == FAULTS[0].name:
        return found.trusted and not _mended(found)
    return _mended(found) or not found.trusted


def _mended(found: Verdict) -> bool:
    return bool(found.correction) or found.rejected > 0


@cache
def _model(name: str) -> ForwardModel:
    return forward_model(name, load_stack(STACK))


def trials(settings: Settings) -> Iterator[Trial]:
    """Everything that is to be computed; methods without weights for a forward model are left out there."""
    for method in settings.methods:
        for forward in settings.forwards:
            if not get_method(method).ready(forward):
                continue
            for kind in settings.kinds:
                for noise in settings.noises:
                    faults = settings.faults if noise == settings.noises[0] else settings.faults[:1]
                    for fault in faults:
                        for sample in range(settings.samples):
                            yield Trial(method, forward, kind, noise, fault, sample, settings.size, settings.seed)
