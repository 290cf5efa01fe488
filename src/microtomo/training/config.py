"""Everything that decides a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError, nearest
from microtomo.models.scans.network import ARCHITECTURES, NetworkConfig, Shape
from microtomo.settings import read_settings
from microtomo.simulate.structures import StructureMix

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Samples(BaseModel):
    """What samples to train on; ``epoch``: samples of an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: Count = 1000


class DataConfig(Samples):
    """Where scans come from.

    Simulated as training goes, or read from ``path``, a data set of `microtomo generate`. ``structures``: kinds with
    their weights. The noise level of a sample is ``noise`` with probability ``noise_share``, else drawn from
    ``noise_range``, evenly in its logarithm. ``epoch``: samples of an epoch; ``validation``: samples scored after it.
    """

    path: Path | None = None
    structures: StructureMix = Field(default_factory=lambda: {"perlin": 0.6, "lithography": 0.3, "continuous": 0.1})
    height: Annotated[int, Field(ge=8, le=4096)] = 128
    width: Annotated[int, Field(ge=8, le=4096)] = 128
    noise: Share = 0.02
    noise_share: Share = 0.5
    noise_range: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.01, 0.12)
    validation: Count = 24
    symmetries: bool = True
    workers: Annotated[int, Field(ge=0, le=256)] = 0


class OptimiserConfig(BaseModel):
    """How weights move: AdamW, a linear warm-up, then a cosine to zero; gradients clipped by their norm.

    ``layer_weights``: weight of each layer in the loss (C_Al / C_Au of the report), equal when not given.
    ``average``: decay a step of the exponential moving average of the weights, which is what is saved, 0 for none.
    ``patience``: epochs without a better validation score after which training stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-2
    warmup: Annotated[int, Field(ge=0)] = 200
    batch: Count = 8
    clip: Annotated[float, Field(gt=0)] = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    layer_weights: tuple[Weight, ...] | None = None
    patience: Count = 1000


class RunConfig(BaseModel):
    """A training run of whatever network: optimiser, epochs, seed, and what it runs on.

    ``start``: a weights file; what has the same name and shape in this network starts from there (fine-tuning for
    other data, or another head), the rest from random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: ClassVar[str]
    """What validation scores: ``validation_METRIC`` in tables, cards and logs."""
    score: ClassVar[str]
    """The same in words."""

    network: Shape
    data: Samples
    start: Path | None = None
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: Count = 100
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1

    @property
    def validates(self) -> bool:
        """Whether samples are kept apart to score each epoch, of which the best is then what is saved."""
        return True


class TrainConfig(RunConfig):
    """A training run of a network for scans."""

    metric, score = "miou", "mIoU"

    network: NetworkConfig
    data: DataConfig = DataConfig()


def load_train_config(
    architecture: str, path: str | Path | None = None, overrides: Sequence[str] = (), **values: Any
) -> TrainConfig:
    """Configuration of a run: TOML file, then ``values``, then overrides like ``network.width=24``.

    Raises MicrotomoError for an unknown architecture or key (with the nearest known one) and impossible values.
    """
    if architecture not in ARCHITECTURES:
        raise MicrotomoError(f"unknown network {architecture!r}; {nearest(architecture, list(ARCHITECTURES))}")
    return read_settings(TrainConfig, path, overrides, network__architecture=architecture, **values)
