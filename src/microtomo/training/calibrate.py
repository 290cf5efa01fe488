"""After training: what levels mean, how wide error bars must be, and where voxels are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from microtomo.inverse.problem import Estimate, Problem
from microtomo.metrics import voxel_scores
from microtomo.models.scans.evidence import NOISES
from microtomo.models.scans.heads import LevelsHead, ThicknessHead, VoxelHead
from microtomo.models.scans.network import SemNetwork
from microtomo.seeds import Stream
from microtomo.training.config import TrainConfig
from microtomo.training.data import SimulatedScans, simulate
from microtomo.voxels import thickness_to_volume

_SAMPLES = 64
_TRUSTS = (0.1, 0.3, 1.0)
_KINDS = {"perlin": 0.5, "pads": 0.25, "continuous": 0.25}  # what trust and votes are chosen on
_FEW = 8  # samples a noise level for that
_INSIDE = 0.95
_HALF_WIDTH = 1.96
_SLACKS = torch.linspace(0, 0.02, 21)  # in shares of a layer's range


def calibrate(network: SemNetwork, config: TrainConfig, samples: int = _SAMPLES) -> None:
    """Set the buffers of the head on samples of a stream of their own, neither trained on nor scored.

    The deviation of each layer is scaled so that 95 % of the pixels lie within 1.96 of it, on Perlin terraces as
    published; levels get the mean thickness that they held; the scan's likelihood and the votes of pixels get the say
    that finds the most voxels (all of it at each level of NOISES). A thickness head is scaled at the usual noise level,
    and gets the slack that loses the fewest voxels.
    """
    network.eval()
    head = network.head
    with torch.inference_mode():
        if isinstance(head, ThicknessHead):
            head.scale.fill_(1)
            found = list(_estimates(network, config, samples))
            head.slack.copy_(_best_slack(found, head.range_nm.cpu()))
            head.scale.copy_(_scales(found))
            return
        if isinstance(head, LevelsHead):
            head.value.copy_(_level_means(head, config, samples))
        _choose_weighing(network, head, config, min(samples, config.data.validation, _FEW))
        head.weighing.scale.fill_(1)
        scales = [_scales(list(_estimates(network, config, samples, noise))) for noise in NOISES]
        head.weighing.scale.copy_(torch.stack(scales))


def _scales(found: list[tuple[Estimate, Tensor]]) -> Tensor:
    """Factor of each layer's deviation with which 95 % of the pixels are inside 1.96 of it."""
    scales = []
    for k in range(found[0][1].shape[1]):
        error = torch.cat([(e.thickness[:, k] - t[:, k]).abs().flatten() for e, t in found])
        spread = torch.cat([e.uncertainty[:, k].flatten() for e, _ in found])
        ratio = (error / spread.clamp_min(1e-9)).double()
        scales.append(float(torch.quantile(_thinned(ratio), _INSIDE)) / _HALF_WIDTH)
    return torch.tensor(scales)


def _config(config: TrainConfig, kinds: dict[str, float]) -> TrainConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"structures": kinds})})


def _scans(config: TrainConfig, samples: int, noise: float | None = None) -> Iterator[tuple[Tensor, Tensor, Problem]]:
    """Signal, true thickness and noise of samples, one by one; at another relative noise on request."""
    source, shape = SimulatedScans(config, Stream.CALIBRATION), config.network
    for i in range(samples):
        _, thickness, usual, seed = source[i]
        level = usual[None] if noise is None else torch.full_like(usual[None], noise)
        signal = simulate(thickness[None], level, seed[None], shape.forward_model)
        yield signal, thickness[None], Problem(shape.forward_model, level, shape.depth, shape.voxel_nm)


def _estimates(
    network: SemNetwork, config: TrainConfig, samples: int, noise: float | None = None
) -> Iterator[tuple[Estimate, Tensor]]:
    """Estimates and true thickness of samples, Perlin terraces, one by one."""
    device = next(network.parameters()).device
    for signal, thickness, problem in _scans(_config(config, {"perlin": 1.0}), samples, noise):
        found = network.estimate(signal.to(device), problem)
        yield (
            Estimate(*(f.cpu() for f in (found.thickness, found.uncertainty, found.volume, found.converged))),
            thickness,
        )


def _choose_weighing(network: SemNetwork, head: LevelsHead | VoxelHead, config: TrainConfig, samples: int) -> None:
    """Votes of the layers under full trust in the scan, then how much trust, with the highest mean IoU, for each
    noise level."""
    shape = config.network
    classes = ["empty", *shape.stack.symbols]
    device = next(network.parameters()).device
    ballots = list(product((0.0, 1.0), repeat=len(shape.stack.layers)))
    for row, noise in enumerate(NOISES):
        trust, votes = head.weighing.trust[row], head.weighing.votes[row]
        seen = []
        for signal, thickness, problem in _scans(_config(config, _KINDS), samples, noise):
            signal = signal.to(device)
            truth = thickness_to_volume(thickness, shape.depth, shape.voxel_nm)
            seen.append((network(signal, problem.noise.to(signal)), signal, problem, truth))

        def miou(seen: list[tuple[Tensor, Tensor, Problem, Tensor]] = seen) -> float:
            found = [head.estimate(output, signal, problem).volume.cpu() for output, signal, problem, _ in seen]
            return voxel_scores(torch.cat(found), torch.cat([truth for *_, truth in seen]), classes).miou

        def best(target: Tensor, ways: Iterable[float | Sequence[float]]) -> None:
            scores = {}
            for way in ways:
                target.copy_(torch.tensor(way))
                scores[way] = miou()
            target.copy_(torch.tensor(max(scores, key=scores.__getitem__)))

        trust.fill_(1)
        best(votes, ballots)
        best(trust, _TRUSTS)


def _level_means(head: LevelsHead, config: TrainConfig, samples: int) -> Tensor:
    """Mean thickness of each level over structures as in training; a level that never came keeps its middle."""
    source = SimulatedScans(config, Stream.CALIBRATION)
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
