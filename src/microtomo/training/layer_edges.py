"""Training of the network that says where a layer's edges lie: on synthetic overcoats with their edges put wrong."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from microtomo.models.architectures import Network
from microtomo.models.micrographs.layer_edges import EdgesConfig
from microtomo.seeds import KIND, Stream, derive_seed
from microtomo.tem.layers.edge_samples import edge_samples
from microtomo.training.config import Count, OptimiserConfig, RunConfig, Samples
from microtomo.training.task import TrainingTask, trains

_PLAIN = 0.3
"""Weight of the plain error beside the likelihood, which alone would give up edges that are far off."""


class EdgesData(Samples):
    """Synthetic overcoats ``synthetic`` to learn from, and ``validation`` more to score each epoch; ``noise`` is added
    to the features."""

    synthetic: Count = 2500
    validation: Count = 300
    noise: Annotated[float, Field(ge=0, le=1)] = 0.02
    epoch: Count = 20000


class EdgesOptimiser(OptimiserConfig):
    """How weights move, see :class:`OptimiserConfig`."""

    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-3
    batch: Count = 128


class EdgesRun(RunConfig):
    """A training run: likelihood of where the edges are, as a normal distribution of each."""

    metric, score, source = "r2", "explained variance of the thickness error", "data.synthetic"

    network: SerializeAsAny[EdgesConfig]
    data: EdgesData = EdgesData()
    optimiser: EdgesOptimiser = EdgesOptimiser()
    epochs: Count = 25


class ProfileSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample i: features and shifts of one wrong place, drawn by number, with noise; without a seed as they are."""

    def __init__(self, features: np.ndarray, shifts: np.ndarray, seed: int | None = None, noise: float = 0.0) -> None:
        self.features, self.shifts, self.seed, self.noise = features, shifts, seed, noise

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if self.seed is None:
            return torch.from_numpy(self.features[i]), torch.from_numpy(self.shifts[i])
        draw = np.random.Generator(np.random.Philox(key=derive_seed(self.seed, Stream.TRAINING, i, KIND)))
        number = int(draw.integers(len(self.features)))
        noise = self.noise * draw.standard_normal(self.features.shape[1], dtype=np.float32)
        return torch.from_numpy(self.features[number] + noise), torch.from_numpy(self.shifts[number])


@trains(EdgesConfig)
class EdgesTraining(TrainingTask):
    """Profiles in, where the edges are and how well that is known out."""

    run = EdgesRun
    config: EdgesRun
    validation_batch = 512

    def __init__(self, config: EdgesRun, images: Any = None) -> None:
        super().__init__(config)
        self.known = _drawn(config.seed, range(config.data.synthetic))
        held = range(config.data.synthetic, config.data.synthetic + config.data.validation)
        self.kept_apart = _drawn(config.seed, held)

    def samples(self, epoch: int) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        count = self.config.data.epoch
        samples = ProfileSamples(*self.known, self.config.seed, self.config.data.noise)
        return samples, range(epoch * count, (epoch + 1) * count)

    def held_out(self) -> tuple[Dataset[tuple[Tensor, Tensor]], range]:
        return ProfileSamples(*self.kept_apart), range(len(self.kept_apart[0]))

    @property
    def described(self) -> dict[str, Any]:
        """Settings, and what was learned from."""
        return {**self.config.data.model_dump(mode="json"), "images": "synthetic overcoats"}

    def loss(self, network: Network, batch: tuple[Tensor, Tensor]) -> Tensor:
        features, shifts = batch
        return edge_loss(network(features).float(), shifts)

    def assess(self, network: Network, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss; number, sum and sum of squares of the errors of the thickness, and the squares of what is left."""
        features, shifts = batch
        out = network(features).float()
        wrong, left = shifts.sum(1).double(), (out[..., 0].mean(1) - shifts).sum(1).double()
        count = torch.full_like(wrong.sum(), len(wrong))
        return edge_loss(out, shifts), torch.stack([count, wrong.sum(), wrong.square().sum(), left.square().sum()])

    def score(self, counts: Tensor) -> Tensor:
        """Share of the variance of the thickness error that is explained."""
        count, total, squares, left = counts
        explained: Tensor = 1 - left / (squares - total**2 / count).clamp_min(1e-12)
        return explained


def edge_loss(out: Tensor, shifts: Tensor) -> Tensor:
    """Negative log-likelihood of shifts (n, 2) by each member's normal distributions (n, members, 2, 2), less a
    constant, and a share of the plain error."""
    place, log_variance = out[..., 0], out[..., 1]
    true = shifts[:, None].expand_as(place)
    likelihood = 0.5 * (log_variance + (place - true).square() * (-log_variance).exp())
    return likelihood.mean() + _PLAIN * functional.smooth_l1_loss(place, true)


def _drawn(seed: int, indices: range) -> tuple[np.ndarray, np.ndarray]:
    """Features and shifts of all wrong places of these images."""
    parts = [part for index in indices if len((part := edge_samples(seed, index))[0])]
    return np.concatenate([features for features, _ in parts]), np.concatenate([shifts for _, shifts in parts])
