"""What decides every training run, whatever it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from microtomo.models.architectures import Shape

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]

SHIPPED = "shipped"
"""As ``start``: the weights that come with the package."""


class Samples(BaseModel):
    """What samples to train on; ``epoch``: samples of an epoch; ``workers``: processes that prepare them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: Count = 1000
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

    ``start``: a weights file, or ``shipped`` for those that come with the package; what has the same name and shape in
    this network starts from there (fine-tuning for other data, or another head), the rest from random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: ClassVar[str]
    """What validation scores: ``validation_METRIC`` in tables, cards and logs."""
    score: ClassVar[str]
    """The same in words."""
    source: ClassVar[str]
    """Setting that says where stored samples are, such as ``data.path``."""

    network: SerializeAsAny[Shape]
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

    @property
    def variant(self) -> str | None:
        """Which of a network's shipped weights are meant, where there are several: those for a forward model."""
        return getattr(self.network, "forward", None)
