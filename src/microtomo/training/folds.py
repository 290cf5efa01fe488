"""Trains networks for micrographs on the folds of a cross-validation, and never shows them what a fold holds out."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from microtomo.io.atomic import writing
from microtomo.models.micrographs.network import SegmenterNetwork, run
from microtomo.models.weights import load_network
from microtomo.tem.protocol import Segmenter, trained_by
from microtomo.tem.segmentation import Segmentation
from microtomo.training.images import LabelledImages
from microtomo.training.run import run_training
from microtomo.training.task import load_run

SYMMETRIES = 8
"""Symmetries of the square over which a trained network is averaged: all."""

_COMMON = ("precision=bf16-mixed",)
_PUBLISHED = (*_COMMON, "dice=0", "optimiser.learning_rate=7e-4", "optimiser.weight_decay=0", "optimiser.batch=4")
_SYNTHETIC = ("seed=21", "data.synthetic=500", "data.epoch=1000")

FIRST: dict[str, tuple[str, ...]] = {
    "graphene-unet": (*_COMMON, *_SYNTHETIC, "epochs=8", "optimiser.warmup=50", "optimiser.average=0.99"),
    "graphene-unet-7": (*_PUBLISHED, *_SYNTHETIC, "epochs=3"),
    "graphene-unet-9": (*_PUBLISHED, *_SYNTHETIC, "epochs=3"),
}
"""Settings of the first stage, on synthetic images alone, once for all folds."""

THEN: dict[str, tuple[str, ...]] = {
    "graphene-unet": (*_COMMON, "epochs=4", "optimiser.learning_rate=5e-4"),
    "graphene-unet-7": (*_PUBLISHED, "epochs=4"),
    "graphene-unet-9": (*_PUBLISHED, "epochs=4"),
}
"""Settings of the training on a fold's images. Nothing is validated: the weights are those of the last epoch."""


class FoldTrainer:
    """Trains one network on one choice of images after another, each a run in a folder of ``folder``.

    A run that is finished is read, one that was interrupted goes on; without ``folder`` nothing is kept. ``first`` and
    ``then`` are settings such as ``epochs=3`` that override those of the two stages.
    """

    def __init__(
        self, name: str, folder: Path | None = None, first: Sequence[str] = (), then: Sequence[str] = ()
    ) -> None:
        self.name, self.first, self.then = name, (*FIRST[name], *first), (*THEN[name], "data.validation=0", *then)
        if folder is None:
            self._held = tempfile.TemporaryDirectory(prefix="microtomo")
            folder = Path(self._held.name)
        self.folder = folder

    def __call__(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Segmenter:
        """Train on these images (y, x) and masks (y, x) alone, or on none; returns the trained segmenter."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        weights = run_training(load_run(self.name, None, self.first), self.folder / f"{self.name}-first")
        if images:
            config = load_run(self.name, None, self.then, start=str(weights))
            folder = self.folder / f"{self.name}-{_digest(images, masks)}"
            weights = run_training(config, folder, LabelledImages(images, masks))
        network = load_network(weights, SegmenterNetwork)

        def segmenter(image: np.ndarray) -> Segmentation:
            return run(network, image, SYMMETRIES, {})

        return segmenter


def _digest(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> str:
    """What tells one choice of images from another: 12 digits."""
    digest = hashlib.sha256()
    for image, mask in zip(images, masks, strict=True):
        digest.update(np.ascontiguousarray(image, dtype=np.float32).tobytes())
        digest.update(np.ascontiguousarray(mask, dtype=np.uint8).tobytes())
    return digest.hexdigest()[:12]


for _name in FIRST:
    trained_by(_name)(lambda folder, name=_name: FoldTrainer(name, folder))  # type: ignore[misc]
