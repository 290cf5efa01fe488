"""After training: what levels mean, how wide error bars must be, and where voxels are cut."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from microtomo.metrics import voxel_scores
from microtomo.models.heads import LevelsHead, ThicknessHead
from microtomo.models.network import SemNetwork
from microtomo.solvers.problem import Estimate, Problem
from microtomo.training.config import TrainConfig
from microtomo.training.data import VALIDATION, SimulatedScans, simulate
from microtomo.voxels import thickness_to_volume

_SAMPLES = 24
_WORTH = 0.01  # IoU that voting must gain
_INSIDE = 0.95
_HALF_WIDTH = 1.96
_SLACKS = torch.linspace(0, 0.02, 21)  # in shares of a layer's range


def calibrate(network: SemNetwork, config: TrainConfig, samples: int = _SAMPLES) -> None:
    """Set the buffers of the head on validation samples, at the usual noise level, from Perlin terraces as published.

    The deviation of each layer is scaled so that 95 % of the pixels lie within 1.96 of it; levels get the mean
    thickness that they held; a thickness head gets the slack that loses the fewest voxels.
    """
    network.eval()
    head, stack = network.head, config.network.stack
    with torch.inference_mode():
        if isinstance(head, LevelsHead):
            head.value.copy_(_level_means(head, config, samples))
            head.votes.copy_(_worthwhile_votes(network, head, config, samples))
        found = list(_estimates(network, config, samples))
        if isinstance(head, ThicknessHead):
            head.slack.copy_(_best_slack(found, head.range_nm.cpu()))
        for k in range(len(stack.layers)):
            error = torch.cat([(e.thickness[:, k] - t[:, k]).abs().flatten() for e, t in found])
            spread = torch.cat([e.uncertainty[:, k].flatten() for e, _ in found])
            ratio = (error / spread.clamp_min(1e-9)).double()
            head.scale[k] = float(torch.quantile(_thinned(ratio), _INSIDE)) / _HALF_WIDTH


def _config(config: TrainConfig, kinds: dict[str, float]) -> TrainConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"structures": kinds})})


def _estimates(network: SemNetwork, config: TrainConfig, samples: int) -> Iterator[tuple[Estimate, Tensor]]:
    """Estimates and true thickness of validation samples, Perlin terraces, one by one."""
    source = SimulatedScans(_config(config, {"perlin": 1.0}), VALIDATION)
    shape = config.network
    network.head.scale.fill_(1)
    for i in range(samples):
        _, thickness, noise, seed = source[i]
        signal = simulate(thickness[None], noise[None], seed[None], shape.stack, shape.contrast)
        problem = Problem(shape.stack, shape.contrast, noise[None], shape.depth, shape.voxel_nm)
        device = next(network.parameters()).device
        found = network.estimate(signal.to(device), problem)
        yield (
            Estimate(*(f.cpu() for f in (found.thickness, found.uncertainty, found.volume, found.converged))),
            thickness[None],
        )


def _level_means(head: LevelsHead, config: TrainConfig, samples: int) -> Tensor:
    """Mean thickness of each level over structures as in training; a level that never came keeps its middle."""
    source = SimulatedScans(config, VALIDATION)
    total, count = torch.zeros(head.channels, dtype=torch.float64), torch.zeros(head.channels, dtype=torch.float64)
    for i in range(4 * samples):
        thickness = source[i].thickness[None]
        first = 0
        for k, levels in enumerate(head.counts):
            at = head.index(thickness)[0, k].flatten() + first
            total.index_add_(0, at, thickness[0, k].flatten().double())
            count.index_add_(0, at, torch.ones_like(at, dtype=torch.float64))
            first += levels
    step = torch.cat([torch.full((n,), s) for n, s in zip(head.counts, head.step_nm, strict=True)])
    middle = torch.cat([torch.arange(n) * s for n, s in zip(head.counts, head.step_nm, strict=True)]) + step / 2
    return torch.where(count > 0, total / count.clamp_min(1), middle.double()).float()


def _worthwhile_votes(network: SemNetwork, head: LevelsHead, config: TrainConfig, samples: int) -> Tensor:
    """1 for each layer whose voxels gain in IoU when pixels vote, more than chance and shapes of other kinds cost."""
    classes = ["empty", *config.network.stack.symbols]
    scores = []
    for vote in (0.0, 1.0):
        head.votes.fill_(vote)
        found = list(_estimates(network, config, samples))
        volumes = torch.cat([e.volume for e, _ in found])
        truth = thickness_to_volume(torch.cat([t for _, t in found]), config.network.depth, config.network.voxel_nm)
        scores.append(torch.tensor(voxel_scores(volumes, truth, classes).iou[1:]))
    return (scores[1] > scores[0] + _WORTH).float()


def _best_slack(found: list[tuple[Estimate, Tensor]], range_nm: Tensor) -> Tensor:
    best = []
    for k, nm in enumerate(range_nm.tolist()):
        wrong = []
        for share in _SLACKS.tolist():
            each = [
                (thickness_to_volume(e.thickness[:, k : k + 1] + share * nm) != thickness_to_volume(t[:, k : k + 1]))
                for e, t in found
            ]
            wrong.append(sum(float(w.float().mean()) for w in each))
        best.append(_SLACKS[min(range(len(wrong)), key=wrong.__getitem__)] * nm)
    return torch.stack(best)


def _thinned(values: Tensor, most: int = 1_000_000) -> Tensor:
    return values[:: max(1, len(values) // most)]
