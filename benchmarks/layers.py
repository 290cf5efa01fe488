"""How well layers are found and measured on synthetic overcoats whose thickness is known exactly.

    python benchmarks/layers.py                                           the figures of docs/layers.md
    python benchmarks/layers.py --seed 900 --shares                       validation: coverage by EDGE_SHARE

Dice is the mean over images, of the network's mask and of its largest component; errors are those of the mean thickness
against the exact orthogonal one of the lines in view, coverage that of the layer which the image shows a piece of.
Seed 900 is for choosing, others for reporting.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from microtomo.tem.layers.answer import LayerThickness
from microtomo.tem.layers.measurement import levels
from microtomo.tem.layers.outline import components
from microtomo.tem.layers.synthetic import Overcoat, overcoat
from microtomo.tem.layers.thickness import EDGE_SHARE, measure_layer
from microtomo.tem.segmentation import segment

SHARES = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.85, 1.0, 1.2)


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (mask & truth).sum() / max(mask.sum() + truth.sum(), 1))


def covers(answer: LayerThickness, sample: Overcoat) -> bool:
    return bool(answer.nm(answer.low_95) <= sample.layer_nm <= answer.nm(answer.high_95))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=902)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--method", default="layer-unet")
    parser.add_argument("--weights", help="instead of those that come with the package")
    parser.add_argument("--symmetries", type=int)
    parser.add_argument("--shares", action="store_true", help="coverage for several EDGE_SHARE")
    given = parser.parse_args()
    options = {name: value for name in ("weights", "symmetries") if (value := getattr(given, name)) is not None}
    maps, samples, answers, masks, seconds = [], [], [], [], []
    for index in range(given.images):
        sample = overcoat(given.seed, index)
        started = time.perf_counter()
        found = levels(segment(sample.image, given.method, **options))
        answers.append(measure_layer(found, sample.pixel_nm))
        seconds.append(time.perf_counter() - started)
        parts = components(found)
        masks.append((dice(found >= 0.5, sample.mask), dice(parts[0].mask, sample.mask) if parts else 0.0))
        samples.append(sample)
        maps.append(found)
    measured = [k for k, answer in enumerate(answers) if answer.status.measured]
    error = np.array([answers[k].nm(answers[k].mean) - samples[k].mean_nm for k in measured])
    three = np.array([s.three_line_nm - s.mean_nm for s in samples])
    print(f"{given.method}, seed {given.seed}, {given.images} images, {np.median(seconds):.2f} s each")
    print("Dice {:.4f}, of the largest component {:.4f}".format(*np.mean(masks, axis=0)))
    print("status", dict(Counter(str(answer.status) for answer in answers)))
    print(
        f"error of the mean: MSE {np.mean(error**2):.4f} nm^2, median |error| {np.median(np.abs(error)):.4f} nm, "
        f"bias {error.mean():+.4f} nm, worst {np.abs(error).max():.3f} nm; three lines {np.nanmean(three**2):.4f} nm^2"
    )
    print(f"coverage {np.mean([covers(answers[k], samples[k]) for k in measured]):.3f} with EDGE_SHARE {EDGE_SHARE}")
    half = [0.5 * answers[k].nm(answers[k].high_95 - answers[k].low_95) for k in measured]
    print(f"half width of the interval: median {np.median(half):.3f} nm")
    for share in SHARES if given.shares else ():
        wider = [measure_layer(maps[k], samples[k].pixel_nm, edge_share=share) for k in measured]
        covered = [covers(answer, samples[k]) for answer, k in zip(wider, measured, strict=True)]
        print(f"  EDGE_SHARE {share}: coverage {np.mean(covered):.3f}")


if __name__ == "__main__":
    main()
