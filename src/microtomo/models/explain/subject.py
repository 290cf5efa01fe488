"""A network and an image to explain: whatever it answers becomes a score for each class and pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.noise import estimate_noise
from microtomo.models.architectures import Network
from microtomo.models.micrographs.network import SegmenterNetwork
from microtomo.models.micrographs.particle_unet import ParticleUNet
from microtomo.models.scans.head import Head
from microtomo.models.scans.heads.levels import LevelsHead
from microtomo.models.scans.heads.thickness import ThicknessHead
from microtomo.models.scans.heads.voxels import VoxelHead
from microtomo.models.scans.network import SemNetwork
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import Method, get_method, get_task
from microtomo.scan import Scan, as_tensor
from microtomo.tem.particles.maps import particle_maps, zoomed
from microtomo.tem.particles.outputs import COVER
from microtomo.tem.segmentation import binned, checked, preparation_of, working_binning

THIN = 0.05
"""Share of a layer's greatest thickness from which a network of thickness maps is said to see the layer."""


@dataclass(frozen=True)
class Subject:
    """What is explained.

    ``image`` (1, c, y, x): the network's own input, of a scan one channel an energy; ``shown`` (y, x): the same as a
    picture; ``scores(network, image)``: (n, k, y, x), above 0 where a pixel is of class k, differentiable;
    ``classes`` their k names; ``channels`` those of the input; ``colours`` of the classes, None for none; ``truth``
    (y, x) bool of the explained class where labels were given.
    """

    name: str
    network: Network
    image: Tensor
    shown: np.ndarray
    scores: Callable[[nn.Module, Tensor], Tensor]
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    colours: tuple[str | None, ...]
    truth: np.ndarray | None = None

    def index(self, name: str | None) -> int:
        """Number of the class of that name; without one, that with the most pixels among those after the first
        background. Raises MicrotomoError with the nearest names where there is none."""
        if name is not None:
            if name not in self.classes:
                raise MicrotomoError(f"{self.name} knows no class {name!r}; {nearest(name, list(self.classes))}")
            return self.classes.index(name)
        with torch.no_grad():
            counts = (self.scores(self.network, self.image)[0] > 0).sum((1, 2)).tolist()
        drawn = [k for k, colour in enumerate(self.colours) if colour is not None] or list(range(len(counts)))
        return max(drawn, key=lambda k: counts[k])

    def window(self, side: int, of: int) -> Subject:
        """The part of ``side`` pixels in which class number ``of`` and all else meet most evenly; less where the image
        is smaller."""
        high, wide = self.image.shape[-2:]
        rows, columns = min(side, high), min(side, wide)
        with torch.no_grad():
            inside = (self.scores(self.network, self.image)[0, of] > 0).float()
        share = functional.avg_pool2d(inside[None, None], (rows, columns), max(1, side // 8))[0, 0]
        best = int((share - _EVEN).abs().neg().argmax())
        top, left = (int(i) * max(1, side // 8) for i in divmod(best, share.shape[1]))
        part = (slice(top, top + rows), slice(left, left + columns))
        truth = None if self.truth is None else self.truth[part]
        image = self.image[(..., *part)].contiguous()
        return replace(self, image=image, shown=np.ascontiguousarray(self.shown[part]), truth=truth)


_EVEN = 0.3  # share of a window that the explained class should fill


def micrograph_subject(
    image: np.ndarray, method: str, weights: str | Path | None = None, labels: np.ndarray | None = None
) -> Subject:
    """A network for micrographs and an image (y, x) of counts, prepared as that network sees it; ``labels`` (y, x) bool
    of the class whose truth is known.

    Raises MicrotomoError for methods that are no network or have no weights, and images that are none.
    """
    chosen = _network_of(method)
    task = get_task(chosen.task)
    preparation = preparation_of(task)
    pixels = checked(image, preparation.smallest_px)
    if labels is not None and labels.shape != pixels.shape:
        raise MicrotomoError(f"the labels are {labels.shape} but the image is {pixels.shape} pixels: give its own")
    network = load_network(shipped_weights(method) if weights is None else weights, Network, method)
    classes, colours = tuple(c.name for c in task.classes), tuple(c.colour for c in task.classes)
    if isinstance(network, ParticleUNet):
        maps = particle_maps(network, pixels)
        seen = zoomed(pixels, maps.zoom)
        normalised = preparation.normalise(seen) * np.float32(1 if maps.bright else -1)
        truth = None if labels is None else zoomed(labels.astype(np.float32), maps.zoom) > _HALF
        scores: Callable[[nn.Module, Tensor], Tensor] = _cover_scores
    elif isinstance(network, SegmenterNetwork):
        n = working_binning(pixels, preparation)
        seen = binned(pixels, n)
        normalised = preparation.normalise(seen)
        truth = None if labels is None else binned(labels.astype(np.float32), n) > _HALF
        scores = _class_scores
    else:
        raise MicrotomoError(f"{method} is a network for scans: give it a scan")
    tensor = torch.from_numpy(np.ascontiguousarray(normalised))[None, None]
    return Subject(method, network, tensor, seen, scores, classes, ("image",), colours, truth)


_HALF = 0.5  # share of a pixel from which it counts to the mask


def scan_subject(scan: Scan, method: str, weights: str | Path | None = None) -> Subject:
    """A network for scans and the first sample of a scan: layers are its classes, and a layer's score is above 0 where
    the network sees it. Raises MicrotomoError for methods that are no network for scans, or have no fitting weights."""
    chosen = _network_of(method)
    if get_task(chosen.task).input != "scan":
        raise MicrotomoError(f"{method} is a network for micrographs: give it an image")
    forward = scan.forward or "published"
    network = load_network(shipped_weights(method, forward) if weights is None else weights, SemNetwork, method)
    data = as_tensor(scan.data).detach().float().cpu()
    signal = data[:1] if data.ndim == 4 else data[None]
    energies = network.config.stack.energies_kev
    if signal.shape[1] != len(energies):
        raise MicrotomoError(f"{method} takes {len(energies)} energies, the scan has {signal.shape[1]}: give another")
    noise = estimate_noise(signal, network.config.forward_model)
    head = network.head

    def scores(net: nn.Module, image: Tensor) -> Tensor:
        return layer_scores(head, net(image, noise.to(image).expand(len(image))))

    layers = tuple(layer.material.symbol for layer in network.config.stack.layers)
    colours = tuple("#E69F00" for _ in layers)
    names = tuple(f"{energy:g} keV" for energy in energies)
    return Subject(method, network, signal, signal[0].mean(0).numpy(), scores, layers, names, colours)


def layer_scores(head: Head, output: Tensor) -> Tensor:
    """Log-odds (n, l, y, x) that a layer is there, of a network's output: more than nothing by its head's own words.

    Levels: not the lowest; voxels: the surest of the column; thickness: above a share :data:`THIN` of the greatest.
    """
    if isinstance(head, LevelsHead):
        return torch.stack(
            [logits[:, 1:].logsumexp(1) - logits[:, 0] for logits in torch.split(output.float(), head.counts, 1)], 1
        )
    if isinstance(head, VoxelHead):
        p = head.logits(output).softmax(1)[:, 1:].clamp(_LEAST, 1 - _LEAST)
        return (p.log() - (-p).log1p()).amax(2)
    if isinstance(head, ThicknessHead):
        return output.float().chunk(2, 1)[0] - float(np.log(THIN / (1 - THIN)))
    raise MicrotomoError(f"{type(head).__name__}: a head that cannot be explained: say in layer_scores what it sees")


_LEAST = 1e-6  # probability, and one less it: keeps logarithms finite


def _class_scores(network: nn.Module, image: Tensor) -> Tensor:
    """Each class's logit over that of all others together."""
    logits: Tensor = network(image).float()
    others = [torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1) for k in range(logits.shape[1])]
    return logits - torch.stack(others, 1)


def _cover_scores(network: nn.Module, image: Tensor) -> Tensor:
    """Log-odds of the coverage, and their negative as the background's."""
    high, wide = image.shape[-2:]
    step = int(getattr(network, "step", 1))
    padded = functional.pad(image, (0, -wide % step, 0, -high % step), mode="reflect")
    cover = network(padded)[:, COVER, :high, :wide].float()
    return torch.stack([-cover, cover], 1)


def _network_of(method: str) -> Method:
    chosen = get_method(method)
    if not chosen.learned:
        raise MicrotomoError(f"{method} is no network: it has no kernels to explain; choose one that is")
    return chosen


def label_mask(labels: Any, number: int) -> np.ndarray:
    """Pixels (y, x) bool of a label image (y, x) that hold a number."""
    return np.asarray(np.asarray(labels) == number)
