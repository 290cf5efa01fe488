"""Layers of a network: what comes out of each, how far a pixel's answer reaches, where pixels lie in features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.explain.subject import Subject

_WIDE = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

MOST_LAYERS = 6
"""Layers whose activations are drawn, evenly from first to last."""

ENERGY = 0.95
"""Share of the squared gradient that the measured receptive field holds (Luo, Li, Urtasun & Zemel, NeurIPS 2016)."""


@contextmanager
def outputs_of(network: nn.Module, layers: Sequence[str], keep: bool = False) -> Iterator[dict[str, list[Tensor]]]:
    """What the named layers give while the network runs inside; with their gradients where ``keep``."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    modules = dict(network.named_modules())

    def keeper(name: str) -> object:
        def kept(module: nn.Module, given: object, output: Tensor) -> Tensor:
            # what follows in place must not change what is kept
            seen[name].append(output if keep else output.detach().clone())
            return output.clone() if keep else output

        return kept

    handles = [modules[name].register_forward_hook(keeper(name)) for name in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def convolutions(subject: Subject) -> dict[str, tuple[int, ...]]:
    """Convolutions in the order in which they run, with the shape that comes out of each for this image."""
    names = [name for name, module in subject.network.named_modules() if isinstance(module, _WIDE)]
    order: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> object:
        def noted(module: nn.Module, given: object, output: Tensor) -> None:
            order.setdefault(name, tuple(output.shape))

        return noted

    modules = dict(subject.network.named_modules())
    handles = [modules[name].register_forward_hook(note(name)) for name in names]
    try:
        with torch.no_grad():
            subject.scores(subject.network, subject.image)
    finally:
        for handle in handles:
            handle.remove()
    return order


def chosen_layers(order: dict[str, tuple[int, ...]], most: int = MOST_LAYERS) -> list[str]:
    """Up to ``most`` of the convolutions with more than one channel, evenly from first to last."""
    names = [name for name, shape in order.items() if shape[1] > 1]
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[k] for k in np.unique(places)]


def cam_layers(order: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Where Seg-Grad-CAM is taken, by words: the coarsest layer, and the last with several channels at full size."""
    names = [name for name, shape in order.items() if shape[1] > 1]
    if not names:
        return {}
    coarsest = min(names, key=lambda name: (order[name][-1] * order[name][-2], -names.index(name)))
    full = max(order[name][-1] * order[name][-2] for name in names)
    last = [n for n in names[:-1] if order[n][-1] * order[n][-2] == full] or names[-1:]
    return (
        {"coarsest layer": coarsest} if coarsest == last[-1] else {"coarsest layer": coarsest, "last layer": last[-1]}
    )


def activations(subject: Subject, layers: Sequence[str], channels: int = 6) -> dict[str, np.ndarray]:
    """Maps (channels, y, x) of the channels of each layer that vary most over the image, strongest first."""
    with outputs_of(subject.network, layers) as seen, torch.no_grad():
        subject.scores(subject.network, subject.image)
    found = {}
    for name, (first, *_) in seen.items():
        maps = (first.flatten(1, 2) if first.ndim == 5 else first)[0].float()
        strongest = maps.flatten(1).std(1).argsort(descending=True)[:channels]
        found[name] = np.asarray(maps[strongest].numpy())
    return found


@dataclass(frozen=True)
class ReceptiveField:
    """Mean absolute gradient (y, x) of a pixel's score by the pixels around it, that pixel in the middle; ``side_px``
    of the square that holds :data:`ENERGY` of its square; ``reach_px`` the farthest pixel that has any."""

    map: np.ndarray
    side_px: int
    reach_px: int


def receptive_field(subject: Subject, of: int, samples: int = 12, seed: int = 0) -> ReceptiveField:
    """Measure how far a pixel's answer reaches, over pixels drawn at random around the image's middle."""
    high, wide = subject.image.shape[-2:]
    rng = np.random.Generator(np.random.Philox(key=seed))
    half = min(high, wide) // 2 - 1
    places = np.stack(
        [rng.integers(half // 2, high - half // 2, samples), rng.integers(half // 2, wide - half // 2, samples)]
    )
    total = torch.zeros(2 * half + 1, 2 * half + 1)
    for row, column in places.T:
        image = subject.image.clone().requires_grad_()
        score = subject.scores(subject.network, image)[0, of, row, column]
        gradient = torch.autograd.grad(score, image)[0][0].abs().sum(0)
        wide_gradient = functional.pad(gradient, (half,) * 4)
        total += wide_gradient[row : row + 2 * half + 1, column : column + 2 * half + 1]
    energy = np.asarray((total / samples).numpy()) ** 2
    distance = np.abs(np.arange(-half, half + 1))
    ring = np.maximum(distance[:, None], distance[None])
    inside = np.bincount(ring.ravel(), energy.ravel()).cumsum()
    side = 2 * int(np.searchsorted(inside, ENERGY * inside[-1])) + 1
    there = np.flatnonzero(np.bincount(ring.ravel(), energy.ravel()) > 0)
    return ReceptiveField(np.sqrt(energy), side, int(there.max()) if len(there) else 0)


@dataclass(frozen=True)
class FeatureSpace:
    """Pixels (n, 2) in the plane of the first two principal components of the last features; ``inside`` (n,) whether
    the class is found there; ``probability`` (n,) of it; ``wrong`` (n,) whether that differs from the truth, None
    without labels; ``explained`` shares of the variance along the two."""

    places: np.ndarray
    inside: np.ndarray
    probability: np.ndarray
    wrong: np.ndarray | None
    explained: tuple[float, float]


def feature_space(subject: Subject, of: int, layer: str, samples: int = 4000, seed: int = 0) -> FeatureSpace:
    """Principal components of the features (channels) of a layer at pixels drawn at random."""
    with outputs_of(subject.network, (layer,)) as seen, torch.no_grad():
        score = subject.scores(subject.network, subject.image)[0, of]
    first = seen[layer][0]
    maps = first.flatten(1, 2) if first.ndim == 5 else first
    maps = functional.interpolate(maps.float(), size=score.shape, mode="bilinear", align_corners=False)[0]
    rng = np.random.Generator(np.random.Philox(key=seed))
    chosen = np.sort(rng.permutation(score.numel())[:samples])
    features = maps.flatten(1).T[chosen].double().numpy()
    features = features - features.mean(0)
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    share = s**2 / max(float((s**2).sum()), 1e-12)
    inside = score.flatten()[chosen].numpy() > 0
    wrong = None if subject.truth is None else inside != subject.truth.ravel()[chosen]
    places = (u * s)[:, :2] if u.shape[1] > 1 else np.pad((u * s)[:, :1], ((0, 0), (0, 1)))
    second = float(share[1]) if len(share) > 1 else 0.0
    return FeatureSpace(places, inside, score.flatten()[chosen].sigmoid().numpy(), wrong, (float(share[0]), second))
