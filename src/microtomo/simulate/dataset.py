"""What a data set is: its configuration, its samples and where each of them stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor

from microtomo.materials import GivenStack, Stack, load_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import ForwardModel, ForwardName, forward_model
from microtomo.physics.spread_model import spread_around
from microtomo.registry import DEFAULT_FORWARD
from microtomo.seeds import KIND, NOISE, Stream, derive_seed, layer_seeds
from microtomo.settings import read_settings
from microtomo.simulate.samples import draw_structure
from microtomo.simulate.scans import record
from microtomo.simulate.structures import StructureMix

STREAMS = {"": Stream.SAMPLES, "train": Stream.TRAIN, "validation": Stream.VALIDATION, "test": Stream.TEST}
"""Stream of each split; "" where a data set has none."""
SINGLE_FILE = (".h5", ".hdf5", ".nxs")

Count = Annotated[int, Field(ge=0, le=10**9)]
Side = Annotated[int, Field(ge=1, le=8192)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DatasetConfig(BaseModel):
    """Everything that, with a seed, decides a data set.

    ``samples`` without a split, or ``train``, ``validation`` and ``test`` samples; ``structures`` are kinds of
    :data:`microtomo.simulate.structures.KINDS` with their weights; ``dtype`` is how signals are stored (``float16``
    halves the file and rounds by up to 0.05 %); thicknesses are float32 always. ``spread`` is the substrate, or the
    file of kernels, of lateral spread by a beam of ``beam_fwhm_nm``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Count = 0
    train: Count = 0
    validation: Count = 0
    test: Count = 0
    height: Side = 128
    width: Side = 128
    stack: GivenStack = Field(default_factory=lambda: load_stack("au-al-si"))
    forward: ForwardName = Field(DEFAULT_FORWARD, validation_alias=AliasChoices("forward", "contrast"))
    structures: StructureMix = Field(default_factory=lambda: {"perlin": 1.0})
    detector: Detector = Detector()
    pixel_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    spread: Annotated[str, Field(min_length=1)] | None = None
    beam_fwhm_nm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dtype: Literal["float32", "float16"] = "float32"
    shard_samples: Annotated[int, Field(ge=1, le=100_000)] = 50

    @model_validator(mode="after")
    def _fits(self) -> DatasetConfig:
        if self.samples and any(self.split_sizes.values()):
            raise ValueError("give either samples or train, validation and test samples, not both")
        for name in ("gain", "offset"):
            count = len(getattr(self.detector, name))
            if count not in (1, len(self.stack.energies_kev)):
                raise ValueError(
                    f"detector.{name} has {count} values for {len(self.stack.energies_kev)} energies: "
                    "give one, or one each"
                )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_absent_spread(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        table: dict[str, Any] = handler(self)
        if self.spread is None:
            table.pop("spread", None)
            table.pop("beam_fwhm_nm", None)
        return table

    @property
    def forward_model(self) -> ForwardModel:
        """The forward model of the scans, kept in memory. Raises MicrotomoError where its spread cannot be had."""
        return _forward_model(self.forward, self.stack, self.spread, self.pixel_nm, self.beam_fwhm_nm)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Samples of each named split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def total(self) -> int:
        """Samples of all splits together."""
        return self.samples + sum(self.split_sizes.values())

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample on disk, without the file's own few kilobytes."""
        signal = len(self.stack.energies_kev) * (4 if self.dtype == "float32" else 2)
        return self.height * self.width * (signal + 4 * len(self.stack.layers)) + 8 * (len(self.stack.layers) + 4)

    def shards(self) -> list[Shard]:
        """All shards, in order; the index in this list is the shard index."""
        sizes = {"": self.samples, **self.split_sizes}
        return [
            Shard(split, number, start, min(start + self.shard_samples, size))
            for split, size in sizes.items()
            for number, start in enumerate(range(0, size, self.shard_samples))
        ]

    def fingerprint(self, seed: int) -> str:
        """Hash of the configuration, seed and package version: equal exactly where the shards are."""
        decided_by = json.dumps([self.model_dump(mode="json"), seed, version("microtomo")], sort_keys=True)
        return hashlib.sha256(decided_by.encode()).hexdigest()


@lru_cache(maxsize=4)
def _forward_model(
    forward: str, stack: Stack, spread: str | None, pixel_nm: float, beam_fwhm_nm: float
) -> ForwardModel:
    model = forward_model(forward, stack)
    return model if spread is None else spread_around(model, spread, pixel_nm, beam_fwhm_nm)


class Shard(NamedTuple):
    """Samples start..stop of a split ("" where the data set has none)."""

    split: str
    number: int
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        """Where the shard stands under the data set's folder."""
        return folder / self.split / f"shard-{self.number:05d}.h5"


class Sample(NamedTuple):
    """One sample: signal (e, y, x), true thickness (l, y, x) [nm], its structure's kind and the seed of each layer."""

    signal: Tensor
    thickness: Tensor
    kind: str
    layer_seeds: tuple[int, ...]


def make_sample(config: DatasetConfig, seed: int, split: str, index: int) -> Sample:
    """Sample ``index`` of a split (train, validation, test, or "" where the data set has none).

    Depends on (configuration, seed, split, index) alone.
    """
    stack, stream = config.stack, STREAMS[split]
    kinds = sorted(config.structures)
    weights = torch.tensor([config.structures[kind] for kind in kinds], dtype=torch.float64).cumsum(0)
    drawn = derive_seed(seed, stream, index, KIND) / 2**64 * float(weights[-1])
    kind = kinds[min(int((weights <= drawn).sum()), len(kinds) - 1)]
    thickness = draw_structure(stack, kind, seed, stream, index, config.height, config.width)
    signal = record(thickness, config.forward_model, config.detector, derive_seed(seed, stream, index, NOISE))
    return Sample(signal, thickness, kind, layer_seeds(seed, stream, index, len(stack.layers)))


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), **values: Any) -> DatasetConfig:
    """Configuration from a TOML file, then ``values`` (None is left out), then overrides like ``detector.noise=0.05``.

    Raises MicrotomoError that names the key and, for an unknown one, the nearest known name.
    """
    return read_settings(DatasetConfig, path, overrides, **values)
