"""How well a thin layer is found and measured on real cross-sections: the oxide of ten series of SEM images.

    python benchmarks/oxide.py FOLDER --weights W                     a network as it is, as of synthetic images
    python benchmarks/oxide.py FOLDER --weights W --folds 5 -o RUNS   and trained on, in folds grouped by series

FOLDER holds train/ and val/, each with images/ and labels/ (0 background, 1 oxide, 2 crack in it). Labels of the oxide
and its cracks are learned; IoU is that of label 1, the mean over images, with the largest component alone in brackets.
Thickness is that of the predicted layer against that of the label, both by orthogonal lines. W for the first line:
microtomo train layer-unet --set data.scene=oxide --set data.synthetic=700 --set data.crop=128
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from microtomo.io.micrographs import list_micrographs, read_micrograph
from microtomo.tem.layers.outline import components
from microtomo.tem.layers.thickness import measure_layer
from microtomo.tem.protocol import grouped_folds
from microtomo.tem.segmentation import binned, segment
from microtomo.training.images import LabelledImages
from microtomo.training.run import run_training
from microtomo.training.task import load_run

WORKING_PX = 128
"""Side that images are binned to, as the synthetic cross-sections have."""


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / max((mask | truth).sum(), 1))


def assessed(image: np.ndarray, label: np.ndarray, weights: Path) -> list[float]:
    """IoU of the oxide, with the largest component alone; relative error of the thickness, NaN where there is none.

    Probabilities are averaged with those of the mirrored image: the coating is on top, nothing else is turned.
    """
    n = min(image.shape) // WORKING_PX
    views = [
        segment(seen, "layer-unet", binning=n, weights=weights, symmetries=1).probability
        for seen in (image, image[:, ::-1])
    ]
    found = 0.5 * (views[0] + views[1][:, ::-1])
    mask, parts = found >= 0.5, components(found)
    largest = parts[0].mask if parts else mask
    ours, theirs = (measure_layer(levels) for levels in (found, label > 0))
    return [iou(mask, label == 1), iou(largest, label == 1), ours.mean / theirs.mean - 1]


def show(title: str, rows: list[list[float]], names: list[str], each: bool) -> None:
    values = np.array(rows)
    off = values[:, 2][np.isfinite(values[:, 2])]
    off = off if len(off) else np.full(1, np.nan)
    mean, median = np.abs(off).mean(), np.median(np.abs(off))
    print(
        f"{title}: IoU {values[:, 0].mean():.3f} ({values[:, 1].mean():.3f}); thickness off by {mean:.1%} on average,"
    )
    print(
        f"  median {median:.1%}, bias {off.mean():+.1%}; {np.isfinite(off).sum()} of {len(rows)} measured", flush=True
    )
    for name, row in zip(names, rows, strict=True) if each else ():
        print(f"  {name:30} IoU {row[0]:.3f} ({row[1]:.3f}) thickness {row[2]:+.1%}")


def trained(weights: Path, images: LabelledImages, folder: Path, samples: int) -> Path:
    settings = (
        "data.synthetic=0", "data.validation=0", f"data.crop={WORKING_PX}", "data.upright=true", "data.inversion=0",
        "data.zoomed=0.7", "data.zoom=[0.7, 1.5]", "data.contrast=0.3", f"data.epoch={samples // 4}", "epochs=4",
        "optimiser.learning_rate=1e-3", "optimiser.weight_decay=1e-3", "optimiser.batch=8", "optimiser.warmup=10",
        "optimiser.average=0.99", "precision=bf16-mixed", f"start={weights}",
    )  # fmt: skip
    sizes = get_sizes(weights)
    return run_training(load_run("layer-unet", None, [*settings, f"network.sizes={sizes}"]), folder, images)


def get_sizes(weights: Path) -> list[int]:
    from microtomo.models.weights import read_card

    return list(read_card(weights)[0].model_dump()["sizes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=0, help="train on, in so many folds; 0: not at all")
    parser.add_argument("--samples", type=int, default=2400, help="turned images that a fold learns from")
    parser.add_argument("--output", "-o", type=Path, default=Path("runs/oxide"), help="folder of the folds' runs")
    parser.add_argument("--each", action="store_true", help="a line an image")
    given = parser.parse_args()
    images, labels, names = [], [], []
    for part in ("train", "val"):
        for path in list_micrographs(given.folder / part / "images"):
            images.append(read_micrograph(path).image)
            labels.append(read_micrograph(given.folder / part / "labels" / path.name).image.astype(np.uint8))
            names.append(path.stem)
    rows = [assessed(image, label, given.weights) for image, label in zip(images, labels, strict=True)]
    show(f"{len(rows)} real cross-sections, not trained on", rows, names, given.each)
    if not given.folds:
        return
    series = [name.removeprefix("S879_").split("_")[0] for name in names]
    small = [
        (
            binned(image, image.shape[0] // WORKING_PX),
            (binned(np.float32(label > 0), image.shape[0] // WORKING_PX) >= 0.5),
        )
        for image, label in zip(images, labels, strict=True)
    ]
    found: dict[int, list[float]] = {}
    for k, (training, held) in enumerate(grouped_folds(series, given.folds)):
        started = time.perf_counter()
        known = LabelledImages([small[i][0] for i in training], [small[i][1].astype(np.uint8) for i in training])
        given.output.mkdir(parents=True, exist_ok=True)
        weights = trained(given.weights, known, given.output / f"fold-{k}", given.samples)
        found |= {int(i): assessed(images[i], labels[i], weights) for i in held}
        print(f"fold {k + 1}: {time.perf_counter() - started:.0f} s", flush=True)
    show(f"{given.folds} folds grouped by series", [found[i] for i in range(len(names))], names, given.each)


if __name__ == "__main__":
    main()
