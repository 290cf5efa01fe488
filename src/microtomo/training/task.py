"""What the runner asks of a training task: samples, what is minimised, and what is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor
from torch.utils.data import Dataset

from microtomo.discovery import discover
from microtomo.models.architectures import Shape, architecture
from microtomo.settings import read_settings
from microtomo.training.config import RunConfig


class TrainingTask(ABC):
    """All that differs between training a network for scans, for micrographs, or for something else.

    A batch is what its samples collate to. Built from a configuration of type ``run``; ``images`` are samples in
    memory, for tasks that take some, instead of those that the configuration names.
    """

    run: ClassVar[type[RunConfig]]
    validation_batch: ClassVar[int | None] = None
    """Samples of a batch that is scored, None for as many as are trained on together."""

    def __init__(self, config: Any, images: Any = None) -> None:
        self.config = config

    def __deepcopy__(self, memo: object) -> TrainingTask:
        return self  # averaging copies the module that holds it, and its samples may be many

    @abstractmethod
    def samples(self, epoch: int) -> tuple[Dataset[Any], range]:
        """Samples to train on, and the numbers of those of an epoch."""

    @abstractmethod
    def held_out(self) -> tuple[Dataset[Any], range]:
        """Samples that score each epoch, and their numbers; all of them on each device."""

    @property
    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What the weights' card says of the data."""

    def prepared(self, batch: Any, training: bool) -> Any:
        """A batch on the device that trains, ready for the network."""
        return batch

    @abstractmethod
    def loss(self, network: Any, batch: Any) -> Tensor:
        """What is minimised: a scalar."""

    @abstractmethod
    def assess(self, network: Any, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss of a batch that is kept apart, and counts, whose sum over all batches decides the score."""

    @abstractmethod
    def score(self, counts: Tensor) -> Tensor:
        """The score from the summed counts; higher is better."""

    def finish(self, network: Any) -> None:  # noqa: B027  # most tasks measure nothing
        """Set what is measured once the weights are final."""


_TASKS: dict[type[Shape], type[TrainingTask]] = {}
Kind = TypeVar("Kind", bound=type[TrainingTask])


def trains(shape: type[Shape]) -> Callable[[Kind], Kind]:
    """Decorator of the training task for networks whose configuration is a ``shape``."""

    def add(task: Kind) -> Kind:
        _TASKS[shape] = task
        return task

    return add


def training_task(shape: type[Shape]) -> type[TrainingTask]:
    """The training task for networks of that configuration, the nearest of its bases."""
    discover("microtomo.training")
    return next(_TASKS[base] for base in shape.__mro__ if base in _TASKS)


def load_run(
    name: str,
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    source: str | None = None,
    **values: Any,
) -> RunConfig:
    """Configuration of a run of the network ``name``: TOML file, then ``values``, then overrides like
    ``network.width=24``. ``source``: where stored samples are.

    Raises MicrotomoError for an unknown network or key (with the nearest known one) and impossible values.
    """
    run = training_task(architecture(name).config).run
    if source is not None:
        values[run.source.replace(".", "__")] = source
    return read_settings(run, path, overrides, network__architecture=name, **values)
