"""Training of regressors of a layer's thickness: on synthetic overcoats, whose thickness is known exactly."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor
from torch.utils.data import Dataset

from microtomo.models.architectures import Network
from microtomo.models.micrographs.layer_regressors import RegressorConfig
from microtomo.seeds import KIND, Stream, derive_seed
from microtomo.tem.layers.synthetic import Conditions, overcoat
from microtomo.tem.layers.training_images import normalised
from microtomo.training.config import Count, RunConfig, Samples
from microtomo.training.data import turned
from microtomo.training.task import TrainingTask, trains


class RegressionSamples(NamedTuple):
    """Square masks or normalised images (k, y, x), and of each mean and deviation (k, 2) in shares of its side."""

    inputs: np.ndarray
    truth: np.ndarray


class RegressionData(Samples):
    """Synthetic overcoats of ``side`` pixels, as many as ``synthetic``, and ``validation`` more to score each epoch."""

    synthetic: Count = 2000
    validation: Annotated[int, Field(ge=0, le=10**5)] = 64
    side: Annotated[int, Field(ge=64, le=1024)] = 256


class RegressionRun(RunConfig):
    """A training run of a regressor: mean squared error of mean and standard deviation."""

    metric, score, source = "r2", "explained variance of the mean", "data.synthetic"

    network: SerializeAsAny[RegressorConfig]
    data: RegressionData = RegressionData()
    epochs: Count = 20

    @property
    def validates(self) -> bool:
        """Whether overcoats are kept apart to score each epoch."""
        return self.data.validation > 0


class TurnedSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample i: one of the inputs (1, y, x) in one of the eight symmetries, none of which changes the truth (2,)."""

    def __init__(self, samples: RegressionSamples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        draw = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, Stream.TRAINING, i, KIND)))
        number = int(draw.integers(len(self.samples.inputs)))
        image = turned(torch.from_numpy(self.samples.inputs[number])[None], int(draw.integers(8)))
        return image.contiguous(), torch.from_numpy(self.samples.truth[number])


class GivenSamples(Dataset[tuple[Tensor, Tensor]]):
    """Samples as they are."""

    def __init__(self, samples: RegressionSamples) -> None:
        self.samples = samples

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.samples.inputs[i])[None], torch.from_numpy(self.samples.truth[i])


@trains(RegressorConfig)
class RegressionTraining(TrainingTask):
    """Masks or images in, mean and standard deviation of the thickness out; ``images`` are samples in memory."""

    run = RegressionRun
    config: RegressionRun

    def __init__(self, config: RegressionRun, images: RegressionSamples | None = None) -> None:
        super().__init__(config)
        data, kind = config.data, config.network.input
        drawn = overcoats(config.seed, (data.synthetic if images is None else 0) + data.validation, data.side, kind)
        held = len(drawn.inputs) - data.validation
        self.known = RegressionSamples(drawn.inputs[:held], drawn.truth[:held]) if images is None else images
        self.kept_apart = RegressionSamples(drawn.inputs[held:], drawn.truth[held:])

    def samples(self, epoch: int) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        count = self.config.data.epoch
        return TurnedSamples(self.known, self.config.seed), range(epoch * count, (epoch + 1) * count)

    def held_out(self) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        return GivenSamples(self.kept_apart), range(len(self.kept_apart.inputs))

    @property
    def described(self) -> dict[str, Any]:
        """Settings, and what was learned from."""
        return {**self.config.data.model_dump(mode="json"), "images": "synthetic overcoats"}

    def loss(self, network: Network, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, truth = batch
        loss: Tensor = (network(inputs).float() - truth).square().mean()
        return loss

    def assess(self, network: Network, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss; number, sum and sum of squares of the true means, and sum of their squared errors."""
        inputs, truth = batch
        answer, mean = network(inputs).float(), truth[:, 0].double()
        wrong = (answer[:, 0].double() - mean).square().sum()
        count = torch.tensor(float(len(mean)), dtype=torch.float64, device=mean.device)
        return (answer - truth).square().mean(), torch.stack([count, mean.sum(), mean.square().sum(), wrong])

    def score(self, counts: Tensor) -> Tensor:
        """Share of the variance of the true means that is explained."""
        count, total, squares, wrong = counts
        explained: Tensor = 1 - wrong / (squares - total**2 / count).clamp_min(1e-12)
        return explained


def overcoats(seed: int, count: int, side: int, kind: str) -> RegressionSamples:
    """Synthetic overcoats ``side`` pixels square that show the usual field of view: their coverage (``kind`` mask) or
    normalised grey levels (image), and the truth; images whose layer leaves the view are passed over."""
    usual = Conditions()
    low, high = (nm * usual.size / side for nm in usual.pixel_nm)
    conditions = Conditions(size=side, pixel_nm=(low, high))
    inputs: list[np.ndarray] = []
    truth, index = [], 0
    while len(inputs) < count:
        sample = overcoat(seed, index, conditions)
        index += 1
        if np.isfinite(sample.mean_nm):
            inputs.append(sample.cover if kind == "mask" else normalised(sample.image))
            truth.append(np.array([sample.mean_nm, sample.sd_nm]) / (sample.pixel_nm * side))
    return RegressionSamples(
        np.array(inputs, dtype=np.float32).reshape(count, side, side),
        np.array(truth, dtype=np.float32).reshape(count, 2),
    )
