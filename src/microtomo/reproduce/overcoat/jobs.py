"""One fold of one network: trained where that is needed, held-out images measured, all kept under a hash of what
decides it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.io.atomic import whole_file, writing
from microtomo.io.hashing import sha256_of
from microtomo.models.micrographs.layer_regressors import LayerRegressor, regress
from microtomo.models.weights import load_network, shipped_weights
from microtomo.registry import get_method
from microtomo.reproduce.overcoat.plan import REGRESSORS, SHIPPED, Settings
from microtomo.simulate.workers import Advance, unobserved
from microtomo.tem.layers.measurement import segmented_layers
from microtomo.tem.layers.outline import components
from microtomo.tem.layers.synthetic import Overcoat
from microtomo.tem.layers.training_images import normalised
from microtomo.tem.segmentation import Segmentation
from microtomo.training.config import RunConfig
from microtomo.training.images import LabelledImages
from microtomo.training.layer_regression import RegressionSamples
from microtomo.training.task import load_run

_BATCH = 4  # images a step, as in the paper
_EPOCHS = 4  # between which training is saved
_SECONDS = 0.02  # a sample of 96 x 96 pixels, about


@dataclass(frozen=True)
class Record:
    """What a network said of one held-out image; lengths in nm, NaN where the status says that there is none.

    ``iou``, ``dice`` of the layer, and with the largest component alone; ``mean``, ``sd`` of the orthogonal lines and
    ``three_line`` of the predicted layer; ``status`` of the measurement. A regressor has mean and deviation alone.
    """

    index: int
    mean: float
    sd: float
    status: str = "ok"
    iou: float = float("nan")
    dice: float = float("nan")
    iou_processed: float = float("nan")
    dice_processed: float = float("nan")
    three_line: float = float("nan")


@dataclass(frozen=True)
class FoldJob:
    """One fold of one network of the plan; the shipped one is not trained. ``masks`` names the network whose predicted
    masks an RCNN measures."""

    network: str
    fold: int
    settings: Settings
    masks: str = ""

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"{self.network}, fold {self.fold + 1}"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        per = 0.1 if self.network == "layer-rcnn" else 1.0
        count = 0 if self.network == SHIPPED else self._samples
        return 2 + per * _SECONDS * count * (self.settings.size / 96) ** 2

    @property
    def _samples(self) -> int:
        return self.settings.regressed if self.network in REGRESSORS else self.settings.samples

    def stem(self, folder: Path) -> Path:
        """Where its results stand, without suffix: the name holds what decides them."""
        digest = sha256_of(shipped_weights(SHIPPED)) if self.network == SHIPPED else ""
        plan = self.settings.model_dump(mode="json", exclude={"networks", "shown"})
        described = json.dumps([version("microtomo"), self.network, self.fold, self.masks, digest, plan])
        return folder / "cache" / f"{self.network}-{self.fold}-{sha256(described.encode()).hexdigest()[:12]}"

    def done(self, folder: Path) -> bool:
        """Whether its result is there, whole."""
        return self.stem(folder).with_suffix(".json").is_file()

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Train, or go on where that was interrupted, then measure the held-out images and write what came out."""
        training, held = self.settings.fold(self.fold)
        if self.network in REGRESSORS:
            records = self._regressed(folder, training, held)
        else:
            records, masks = self._segmented(folder, training, held)
            with whole_file(self.stem(folder).with_suffix(".npz")) as path, writing(folder), path.open("wb") as file:
                np.savez_compressed(file, index=np.array(held), masks=np.packbits(masks, axis=-1))
        target = self.stem(folder).with_suffix(".json")
        with whole_file(target) as path, writing(target):
            path.write_text(json.dumps([asdict(record) for record in records]), encoding="utf-8")

    def records(self, folder: Path) -> list[Record]:
        """What it found."""
        stored = json.loads(self.stem(folder).with_suffix(".json").read_text(encoding="utf-8"))
        return [Record(**record) for record in stored]

    def predicted(self, folder: Path) -> dict[int, np.ndarray]:
        """Predicted mask (y, x), bool, of each held-out image, without post-processing."""
        with np.load(self.stem(folder).with_suffix(".npz"), allow_pickle=False) as stored:
            masks = np.unpackbits(stored["masks"], axis=-1, count=self.settings.size).astype(bool)
            return dict(zip(stored["index"].tolist(), masks, strict=True))

    def _trained(self, folder: Path, config: RunConfig, images: Any) -> Path:
        from microtomo.training.run import run_training

        with contextlib.redirect_stderr(io.StringIO()):  # one bar is enough
            return run_training(config, folder / "training" / self.stem(folder).name, images)

    def _config(self, **more: Any) -> RunConfig:
        return load_run(
            self.network, None, self.settings.shape(self.network), epochs=_EPOCHS, seed=self.settings.seed,
            data__epoch=max(1, self._samples // _EPOCHS), data__validation=0, optimiser__batch=_BATCH,
            optimiser__average=0.99, optimiser__warmup=20, **more,
        )  # fmt: skip

    def _segmented(
        self, folder: Path, training: Sequence[int], held: Sequence[int]
    ) -> tuple[list[Record], list[np.ndarray]]:
        segmenter = get_method(SHIPPED).run
        if self.network != SHIPPED:
            samples = [self.settings.image(i) for i in training]
            images = LabelledImages([s.image for s in samples], [s.mask.astype(np.uint8) for s in samples])
            config = self._config(
                data__synthetic=0, data__inversion=0.0, data__zoomed=0.0, data__crop=self.settings.size,
                optimiser__learning_rate=3e-3,
            )  # fmt: skip
            segmenter = partial(get_method(self.network).run, weights=self._trained(folder, config, images))
        records, masks = [], []
        for index in held:
            sample = self.settings.image(index)
            found = segmenter(sample.image)
            masks.append(found.mask)
            records.append(_record(index, sample, found))
        return records, masks

    def _regressed(self, folder: Path, training: Sequence[int], held: Sequence[int]) -> list[Record]:
        size, takes_masks = self.settings.size, self.network == "layer-rcnn"

        def taken(sample: Overcoat) -> np.ndarray:
            return sample.cover if takes_masks else normalised(sample.image)

        samples = [s for i in training if np.isfinite((s := self.settings.image(i)).mean_nm)]
        truth = [np.array([s.mean_nm, s.sd_nm]) / (s.pixel_nm * size) for s in samples]
        known = RegressionSamples(np.stack([taken(s) for s in samples]), np.array(truth, dtype=np.float32))
        weights = self._trained(folder, self._config(data__side=size, optimiser__learning_rate=1e-3), known)
        network = load_network(weights, LayerRegressor, self.network)
        masks = {}
        if takes_masks:
            masks = FoldJob(self.masks, self.fold, self.settings).predicted(folder)
        records = []
        for index in held:
            sample = self.settings.image(index)
            shown = _largest(masks[index]).astype(np.float32) if takes_masks else taken(sample)
            mean, deviation = regress(network, shown)
            records.append(Record(index, mean * sample.pixel_nm, deviation * sample.pixel_nm))
        return records


def _record(index: int, sample: Overcoat, found: Segmentation) -> Record:
    answer, mask = segmented_layers(found, sample.pixel_nm)[0], found.mask
    plain, processed = _overlap(mask, sample.mask), _overlap(_largest(mask), sample.mask)
    return Record(
        index, answer.nm(answer.mean), answer.nm(answer.sd), str(answer.status), *plain, *processed,
        answer.nm(answer.three_line),
    )  # fmt: skip


def _largest(mask: np.ndarray) -> np.ndarray:
    """The paper's post-processing: the largest connected component."""
    parts = components(mask.astype(np.float32))
    return parts[0].mask if parts else mask


def _overlap(mask: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """IoU and Dice; 1 where both are empty."""
    both, either = int((mask & truth).sum()), int((mask | truth).sum())
    return (both / either, 2 * both / (either + both)) if either else (1.0, 1.0)
