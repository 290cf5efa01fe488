"""A network's opinion, weighed with what the scan itself says of every pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from microtomo.inverse.columns import most_probable_volume
from microtomo.inverse.misfit import Grid, combinations
from microtomo.inverse.problem import Problem

NOISES = (0.02, 0.05, 0.10)
"""Relative noise of the scans that trust and votes are calibrated on."""

_ROUNDS = 15  # of voting
_LABELS = 40_000  # combinations of levels that a pixel is weighed over
_CHUNK = 1 << 20  # pixels times labels at a time: what the caches hold
_KEPT = 1 << 24  # probabilities that are kept rather than computed twice
_IMPOSSIBLE = -80.0  # log-likelihood below the best that still can be told from nothing
_NOTHING = -40.0  # log-probability below the best that counts as none
_RAREST = 1e-9  # share of a level

Opinion = Callable[[int, slice, Tensor], Tensor]
"""Of image i, of some of its pixels, and of the negative log-likelihood (p, L) of their labels, which it may overwrite:
log-probability (p, L) of the labels, up to a constant."""


@dataclass(frozen=True)
class Levels:
    """Thicknesses that layers are weighed at, ascending from 0: one tensor [nm] a layer.

    ``value`` is what a level stands for, ``floor`` the least thickness in it: what fills voxels.
    """

    value: list[Tensor]
    floor: list[Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        """Levels of each layer."""
        return tuple(len(v) for v in self.value)

    def indicators(self) -> Tensor:
        """Which labels (all combinations, L) have a level: (sum of levels, L) float32, 0 or 1."""
        rows = combinations([torch.arange(k) for k in self.shape])
        return torch.cat([nn.functional.one_hot(row, k).T for row, k in zip(rows, self.shape, strict=True)]).float()

    def coarse(self) -> tuple[Levels, list[Tensor]]:
        """As many levels as can be weighed together, and for each layer which of them (k,) each level became."""
        stride = 1
        while math.prod(-(-(k - 1) // stride) + 1 for k in self.shape) > _LABELS:
            stride += 1
        # nothing is a level of its own
        into = [
            torch.div(torch.arange(k, device=v.device) + stride - 1, stride, rounding_mode="floor")
            for k, v in zip(self.shape, self.value, strict=True)
        ]
        first = [torch.arange(int(t[-1]) + 1, device=t.device) for t in into]
        value = [_means(v, t, len(f)) for v, t, f in zip(self.value, into, first, strict=True)]
        floor = [v[((f - 1) * stride + 1).clamp_min(0)] for v, f in zip(self.floor, first, strict=True)]
        return Levels(value, floor), into


class Weighing(nn.Module):
    """How much the scan's likelihood counts beside the network, which layers' pixels vote, and how wide error bars are.

    ``trust`` (len(NOISES),) is the exponent of the likelihood: a network has seen the pixel too, so that both are
    not independent. ``votes`` (len(NOISES), l) is 1 where a layer's voxels take part in the vote of
    :func:`level_shares`. Both are those of the calibrated noise level that is nearest. ``scale`` (len(NOISES), l)
    multiplies the deviation, interpolated in the logarithm of the noise.
    """

    trust: Tensor
    votes: Tensor
    scale: Tensor

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.register_buffer("trust", torch.zeros(len(NOISES)))
        self.register_buffer("votes", torch.zeros(len(NOISES), layers))
        self.register_buffer("scale", torch.ones(len(NOISES), layers))

    def at(self, noise: float) -> tuple[float, list[bool]]:
        """Trust and votes for a noise level."""
        near = min(range(len(NOISES)), key=lambda i: abs(math.log(max(noise, 1e-9) / NOISES[i])))
        return float(self.trust[near]), [bool(v > 0) for v in self.votes[near]]

    def scaled(self, deviation: Tensor, problem: Problem) -> Tensor:
        """Deviation (n, l, y, x) [nm] with 95 % of the pixels inside 1.96 of it, at most a layer's range."""
        top = deviation.new_tensor(problem.stack.max_nm)[:, None, None]
        scales = self.scale.cpu().numpy()
        each = [
            [np.interp(math.log(max(float(noise), 1e-9)), np.log(NOISES), column) for column in scales.T]
            for noise in problem.noise
        ]
        return torch.minimum((deviation * deviation.new_tensor(each)[..., None, None]).clamp_min(1e-4), top)


def weigh(
    opinion: Opinion, levels: Levels, signal: Tensor, problem: Problem, votes: Sequence[Sequence[bool]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Thickness and deviation (n, l, y, x) [nm] and volume (n, z, y, x) of scans (n, e, y, x).

    A pixel's posterior runs over all combinations of levels. ``votes`` says for each image which layers' voxels are
    voted on; thickness and deviation stay each pixel's own. A layer that is probably absent is absent: a trace of it
    may be a jump of the signal (:attr:`ForwardModel.jumps_at_zero`).
    """
    grid = Grid(levels.value, problem.forward)
    fills = levels.floor if problem.rule == "floor" else levels.value
    at = grid.thickness.to(signal)
    cut = combinations(fills).to(signal) + 1e-4
    absent = (at == 0).to(at)
    moments = torch.cat([at, at**2, absent, torch.ones_like(at[:1])]).T.contiguous()
    inside = [v.diff().median().to(signal) ** 2 / 48 for v in levels.value]  # what is left when a level is sure
    count, _, height, width = signal.shape
    pixels = height * width
    size = max(64, _CHUNK // len(grid))
    parts = [slice(i, min(i + size, pixels)) for i in range(0, pixels, size)]
    images = []
    for i in range(count):
        spectra, noise = signal[i].flatten(1), float(problem.noise[i])

        def posterior(part: slice, i: int = i, spectra: Tensor = spectra, noise: float = noise) -> Tensor:
            log = opinion(i, part, grid.misfit(spectra[:, part], noise).float())
            # in place, since memory is what takes the time, and without denormal numbers, which take more
            return log.sub_(log.amax(1, keepdim=True)).clamp_min_(_NOTHING).exp_()

        share, kept = _shares(posterior, parts, levels, votes[i])
        pieces = []
        for k, part in enumerate(parts):
            p = kept[k] if kept else posterior(part)
            *sums, total = (p @ moments).T
            mean, square, none = (torch.stack(sums) / total).chunk(3)
            best = torch.where(none > 0.5, 0.0, mean / (1 - none).clamp_min(0.5))
            spread = square - 2 * best * mean + best**2 + (1 - none) * torch.stack(inside)[:, None]
            if share is not None:
                p = p.mul_(share)
            pieces.append((best, spread.clamp_min(0).sqrt(), most_probable_volume(p, cut, problem)))
        images.append([torch.cat(field, 1) for field in zip(*pieces, strict=True)])
    thickness, deviation, volume = (torch.stack(field) for field in zip(*images, strict=True))
    shape = (height, width)
    return (
        thickness.reshape(count, -1, *shape),
        deviation.reshape(count, -1, *shape),
        volume.reshape(count, -1, *shape),
    )


def level_shares(p: Tensor) -> Tensor:
    """How frequent levels are (k,) in an image whose pixels hold them with probabilities (p, k).

    A sample holds few thicknesses, often in many places: the frequencies that explain all pixels best (expectation
    maximisation for the weights of a mixture; Dempster, Laird & Rubin 1977) settle what each pixel leaves open.
    """
    share = p.new_full((p.shape[1],), 1 / p.shape[1])
    for _ in range(_ROUNDS):
        share = share * (p / (p @ share)[:, None].clamp_min(1e-30)).mean(0)
    return share


def evidence_within(score: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log of the summed likelihoods (p, groups) of the labels in each group, from their logarithms (p, L).

    These are made relative to the best label's, in place, and no less than what can be told from nothing.
    """
    hot = nn.functional.one_hot(group, groups).to(score)
    score.sub_(score.amax(1, keepdim=True)).clamp_min_(_IMPOSSIBLE)
    total: Tensor = (score.exp() @ hot).log()
    return total


def _shares(
    posterior: Callable[[slice], Tensor], parts: list[slice], levels: Levels, votes: Sequence[bool]
) -> tuple[Tensor | None, list[Tensor]]:
    """Product over the voting layers of the shares of their levels, for all labels (L,); and the posteriors of the
    parts, up to a factor a pixel, where they are few enough to keep."""
    if not any(votes):
        return None, []
    sizes = levels.shape
    keep = parts[-1].stop * math.prod(sizes) <= _KEPT
    kept, marginals = [], []
    for part in parts:
        p = posterior(part)
        each = p.reshape(-1, *sizes)
        axes = range(1, len(sizes) + 1)
        sums = [each.sum([a for a in axes if a != k]) if len(sizes) > 1 else each for k in axes]
        marginals.append(torch.cat(sums, 1) / sums[0].sum(1, keepdim=True))
        if keep:
            kept.append(p)
    by_layer = torch.split(torch.cat(marginals), list(sizes), 1)
    shares = [
        level_shares(p).clamp_min(_RAREST) if vote else p.new_ones(1) for p, vote in zip(by_layer, votes, strict=True)
    ]
    shares = [s.expand(k) for s, k in zip(shares, sizes, strict=True)]
    return combinations(shares).prod(0), kept


def _means(value: Tensor, into: Tensor, count: int) -> Tensor:
    total = value.new_zeros(count).index_add_(0, into, value)
    return total / torch.bincount(into, minlength=count)
