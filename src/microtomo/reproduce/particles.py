"""Nanoparticles on real images: detection against boxes drawn by hand, and pixels against given labels.

Boxes: supported catalysts as of Genc et al. (2025). Labels: the pseudo-labelled tiles of Horwath, Zakharov, Megret &
Stach, npj Comput. Mater. 6 (2020) 108.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError, naming
from microtomo.io.micrographs import list_micrographs, read_micrograph
from microtomo.metrics import MaskScores, mask_scores
from microtomo.registry import get_task
from microtomo.tem.measurement import Column, measure
from microtomo.tem.particles.boxes import Agreement, agreement, read_boxes, score
from microtomo.tem.particles.gaussian_otsu import gaussian_otsu
from microtomo.tem.protocol import Labelled, Segmenter, cross_validate, grouped_folds
from microtomo.tem.segmentation import given_labels

SIGMAS_PX = (1.0, 2.0, 3.0, 5.0, 7.0)
"""Deviations [px] of the Gaussian among which a fold's training tiles choose."""


@dataclass(frozen=True)
class Detected:
    """What a method found on one image with boxes."""

    name: str
    agreement: Agreement

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"image": self.name, **asdict(score([self.agreement]))}


def detections(data: str | Path, method: str | None = None) -> Iterator[Detected]:
    """Each image of ``data``/images, as measured by a method without any setting, against ``data``/boxes/NAME.txt.

    Raises MicrotomoError where images or boxes are missing.
    """
    folder = Path(data)
    for path in list_micrographs(folder / "images"):
        boxes_file = folder / "boxes" / f"{path.stem}.txt"
        if not boxes_file.is_file():
            raise MicrotomoError(f"{boxes_file}: is missing: each image needs a file of boxes `0 x y width height`")
        image = read_micrograph(path).image
        with naming(boxes_file):
            boxes = read_boxes(boxes_file.read_text(encoding="utf-8"), (image.shape[0], image.shape[1]))
        with naming(path):
            table = _columns(measure(image, "particles", method=method).tables["particles"])
        centres = np.stack([table["x"], table["y"]], axis=1)
        yield Detected(path.name, agreement(centres, table["diameter_px"], boxes))


def _columns(table: Sequence[Column]) -> dict[str, np.ndarray]:
    return {c.name: np.asarray(c.values, dtype=float) for c in table if c.name in ("x", "y", "diameter_px")}


def read_tiles(data: str | Path) -> tuple[Labelled, tuple[str, ...]]:
    """Tiles of ``data``/images with ``data``/labels of the same names, and the group of each: tiles that
    ``data``/groups.json lists together show the same place, all others stand alone.

    Raises MicrotomoError where a label is missing or does not fit.
    """
    folder, images, labels = Path(data), [], []
    paths = list_micrographs(folder / "images")
    for path in paths:
        images.append(read_micrograph(path).image)
        label = folder / "labels" / path.name
        labels.append(given_labels(read_micrograph(label).image, get_task("particle")).labels)
        if images[-1].shape != labels[-1].shape:
            raise MicrotomoError(f"{label}: is {labels[-1].shape} but the image is {images[-1].shape} pixels")
    listed = folder / "groups.json"
    groups = json.loads(listed.read_text(encoding="utf-8"))["groups"] if listed.is_file() else []
    group_of = {name: f"group {k}" for k, names in enumerate(groups) for name in names}
    names = tuple(path.stem for path in paths)
    return Labelled(tuple(images), tuple(labels), names, "particle"), tuple(group_of.get(n, n) for n in names)


def filter_scores(data: Labelled, groups: Sequence[str], folds: int = 5, seed: int = 0) -> MaskScores:
    """Pixels of the one-line filter, pooled over all tiles: the Gaussian of each fold is chosen on its training tiles,
    and no group stands on both sides."""
    outcome = cross_validate(data, _fitted, grouped_folds(groups, folds, seed))
    pooled = outcome.pooled
    assert isinstance(pooled, MaskScores)
    return pooled


def _fitted(images: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Segmenter:
    """The filter with the Gaussian and sign that agree best with labels, all pixels pooled."""
    truth = np.concatenate([label.ravel() for label in labels])

    def f1(sigma_px: float, bright: bool) -> float:
        found = [gaussian_otsu(image, sigma_px=sigma_px, bright=bright).labels.ravel() for image in images]
        return mask_scores(np.concatenate(found), truth).f1

    sigma_px, bright = max(((s, b) for s in SIGMAS_PX for b in (False, True)), key=lambda point: f1(*point))
    return lambda image: gaussian_otsu(image, sigma_px=sigma_px, bright=bright)
