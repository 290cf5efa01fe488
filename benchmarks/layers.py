"""How well layers are found and measured on synthetic overcoats whose thickness is known exactly.

    python benchmarks/layers.py                                           the figures of docs/layers.md
    python benchmarks/layers.py --seed 900                                validation: what limits were chosen on
    python benchmarks/layers.py --seed 900 --bare                         images beside the layer, which show none of it

Dice is the mean over images, of the mask and of its largest component; errors are those of the mean thickness against
the exact orthogonal one of the lines in view, coverage that of the layer which the image shows a piece of. Wrong is a
number with status ok that is more than 10 % off. Seed 900 is for choosing, others for reporting.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from microtomo.tem.layers.measurement import levels, segmented_layers
from microtomo.tem.layers.outline import components
from microtomo.tem.layers.synthetic import Conditions, overcoat
from microtomo.tem.segmentation import segment

WRONG = 0.1
TEST_SEED = 906


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (mask & truth).sum() / max(mask.sum() + truth.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=TEST_SEED)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--method", default="layer-unet")
    parser.add_argument("--weights", help="instead of those that come with the package")
    parser.add_argument("--symmetries", type=int)
    parser.add_argument("--bare", action="store_true", help="images without a layer")
    given = parser.parse_args()
    options = {name: value for name in ("weights", "symmetries") if (value := getattr(given, name)) is not None}
    conditions = Conditions(bare=1.0) if given.bare else None
    samples, answers, masks, seconds = [], [], [], []
    for index in range(given.images):
        sample = overcoat(given.seed, index, conditions)
        started = time.perf_counter()
        found = segment(sample.image, given.method, **options)
        answers.append(segmented_layers(found, sample.pixel_nm)[0])
        seconds.append(time.perf_counter() - started)
        parts = components(levels(found))
        masks.append((dice(found.mask, sample.mask), dice(parts[0].mask, sample.mask) if parts else 0.0))
        samples.append(sample)
    print(f"{given.method}, seed {given.seed}, {given.images} images, {np.median(seconds):.2f} s each")
    print("status", dict(Counter(str(answer.status) for answer in answers)))
    if given.bare:
        return
    print("Dice {:.4f}, of the largest component {:.4f}".format(*np.mean(masks, axis=0)))
    measured = [(a, s) for a, s in zip(answers, samples, strict=True) if a.status.measured]
    errors = np.array([a.nm(a.mean) - s.mean_nm for a, s in measured])
    off = np.abs(errors) / [s.mean_nm for _, s in measured]
    three = np.array([s.three_line_nm - s.mean_nm for s in samples])
    print(
        f"error of the mean: MSE {np.mean(errors**2):.4f} nm^2, median |error| {np.median(np.abs(errors)):.4f} nm, "
        f"bias {errors.mean():+.4f} nm, worst {np.abs(errors).max():.3f} nm; "
        f"three lines {np.nanmean(three**2):.4f} nm^2"
    )
    print(f"wrong by more than {WRONG:.0%}: {int((off > WRONG).sum())} of {len(measured)}; worst {off.max():.1%}")
    held = [a.nm(a.low_95) <= s.layer_nm <= a.nm(a.high_95) for a, s in measured]
    half = [0.5 * a.nm(a.high_95 - a.low_95) for a, _ in measured]
    print(f"95 % interval: holds {np.mean(held):.1%}, half width {np.median(half):.3f} nm (median)")


if __name__ == "__main__":
    main()
