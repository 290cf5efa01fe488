"""Which pixels decide, by Seg-Grad-CAM and integrated gradients, and whether such maps can be trusted.

Sources: Grad-CAM: Selvaraju et al., ICCV 2017; for segmentation, with the score summed over the pixels in question:
Vinogradova, Dibrov & Myers, AAAI 2020; integrated gradients: Sundararajan, Taly & Yan, ICML 2017; deletion: Petsiuk,
Das & Saenko, BMVC 2018; the check with random weights: Adebayo et al., NeurIPS 2018.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.models.explain.layers import outputs_of
from microtomo.models.explain.subject import Subject

STEPS = 16
"""Points of the path that gradients are integrated along."""

SHARES = tuple(k / 20 for k in range(11))
"""Shares of the pixels that are deleted, up to the half that counts most."""

_BLUR_PX = 9  # side of the mean that a deleted pixel is replaced by: its surroundings without its detail


def seg_grad_cam(subject: Subject, network: nn.Module, of: int, where: Tensor, layer: str) -> np.ndarray:
    """Seg-Grad-CAM (y, x), 0..1, of class number ``of`` summed over pixels ``where`` (y, x) bool, at a ``layer``."""
    with outputs_of(network, (layer,), keep=True) as seen:
        score = subject.scores(network, subject.image.clone().requires_grad_())[0, of][where].sum()
        (activation,) = seen[layer]
        (gradient,) = torch.autograd.grad(score, activation)
    if activation.ndim == 5:  # voxels: along the depth together
        activation, gradient = activation.flatten(1, 2), gradient.flatten(1, 2)
    weights = gradient.mean((-2, -1), keepdim=True)
    cam = (weights * activation).sum(1, keepdim=True).relu()
    cam = functional.interpolate(cam, size=subject.image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return np.asarray((cam / cam.max().clamp_min(1e-12)).detach().numpy())


def integrated_gradients(subject: Subject, network: nn.Module, of: int, where: Tensor) -> np.ndarray:
    """Integrated gradients (c, y, x) of a class summed over pixels, along the path from the image's own surroundings
    (a mean over :data:`_BLUR_PX` pixels thrice) to the image: they add up to the difference of the two scores."""
    start = blurred(subject.image)
    total = torch.zeros_like(subject.image)
    for k in range(STEPS):
        point = (start + (k + 0.5) / STEPS * (subject.image - start)).requires_grad_()
        score = subject.scores(network, point)[0, of][where].sum()
        total += torch.autograd.grad(score, point)[0]
    return np.asarray(((subject.image - start) * total / STEPS)[0].detach().numpy())


def blurred(image: Tensor) -> Tensor:
    """An image (n, c, y, x) with its detail gone: a mean over a square, three times, which is nearly a Gaussian."""
    for _ in range(3):
        wide = functional.pad(image, (_BLUR_PX // 2,) * 4, mode="replicate")
        image = functional.avg_pool2d(wide, _BLUR_PX, 1)
    return image


@dataclass(frozen=True)
class Deletion:
    """Mean score of the class over the pixels in question as the most decisive pixels are blurred away: ``shares`` (s,)
    deleted, ``scores`` (s,) by a map, ``chance`` (s,) by chance; ``gain`` is the area between the two over that under
    chance's fall from the first: above 0, the map knows what counts."""

    shares: np.ndarray
    scores: np.ndarray
    chance: np.ndarray

    @property
    def gain(self) -> float:
        """Mean distance below the curve of chance, in units of the whole image's score."""
        return float((self.chance - self.scores).mean() / max(abs(float(self.scores[0])), 1e-9))


def deletion(subject: Subject, of: int, where: Tensor, importance: np.ndarray, seed: int = 0) -> Deletion:
    """Delete pixels in the order of ``importance`` (y, x), and in a random one, block by block."""
    side = max(2, round(min(importance.shape) / 48))
    coarse = functional.avg_pool2d(torch.from_numpy(importance)[None, None].float(), side, ceil_mode=True)[0, 0]
    rng = np.random.Generator(np.random.Philox(key=seed))
    orders = (coarse.flatten().argsort(descending=True), torch.from_numpy(rng.permutation(coarse.numel())))
    gone = blurred(subject.image)
    curves = [
        [_score_without(subject, of, where, gone, order[: round(share * len(order))], coarse) for share in SHARES]
        for order in orders
    ]
    return Deletion(np.array(SHARES), *(np.array(curve) for curve in curves))


def _score_without(subject: Subject, of: int, where: Tensor, gone: Tensor, blocks: Tensor, coarse: Tensor) -> float:
    deleted = torch.zeros(coarse.numel())
    deleted[blocks] = 1
    high, wide = subject.image.shape[-2:]
    side = -(-high // coarse.shape[0])
    mask = deleted.reshape(1, 1, *coarse.shape).repeat_interleave(side, 2).repeat_interleave(side, 3)[..., :high, :wide]
    with torch.no_grad():
        score = subject.scores(subject.network, torch.where(mask > 0, gone, subject.image))
    return float(score[0, of][where].mean())


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """A copy whose convolutions have new random weights of the same deviation each."""
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    for module in other.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            weight = module.weight.data
            weight.copy_(torch.randn(weight.shape, generator=generator) * weight.std(correction=0))
    return other


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation of two maps (y, x): near 0 is what an honest map has with that of random weights."""
    from scipy.stats import spearmanr  # takes half a second to import, and every command imports this module

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


@dataclass(frozen=True)
class Attribution:
    """One kind of map (y, x) of how much each pixel counts, its ``deletion`` curves, and its rank correlation
    ``random`` with the map of random weights."""

    kind: str
    map: np.ndarray
    deletion: Deletion
    random: float


def attributions(subject: Subject, of: int, layers: dict[str, str], seed: int = 0) -> list[Attribution]:
    """Seg-Grad-CAM at the ``layers`` (name by words) and integrated gradients, with the checks of each.

    The pixels in question are those of the class, or, where there are none, the tenth with the highest score.
    """
    where = explained_pixels(subject, of)
    ways: dict[str, Callable[[nn.Module], np.ndarray]] = {
        f"Seg-Grad-CAM, {words}": lambda net, layer=layer: seg_grad_cam(subject, net, of, where, layer)  # type: ignore[misc]
        for words, layer in layers.items()
    }
    ways["integrated gradients"] = lambda net: np.abs(integrated_gradients(subject, net, of, where)).sum(0)
    other = randomised(subject.network, seed)
    found = []
    for kind, way in ways.items():
        map_ = way(subject.network)
        curves = deletion(subject, of, where, map_, seed)
        found.append(Attribution(kind, map_, curves, likeness(map_, way(other))))
    return found


def explained_pixels(subject: Subject, of: int) -> Tensor:
    """Pixels (y, x) bool of the class, at least a tenth of all."""
    with torch.no_grad():
        score = subject.scores(subject.network, subject.image)[0, of]
    there = score > 0
    return there if bool(there.any()) else score >= score.quantile(0.9)
