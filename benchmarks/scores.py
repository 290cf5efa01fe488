"""Scores and speed of the solvers on test seeds, beside what was published.

    python benchmarks/scores.py                  every row of docs/scores.md (40 structures, about 10 minutes)
    python benchmarks/scores.py --samples 8      fewer structures
    python benchmarks/scores.py --validation     the seeds that settings are chosen on
    python benchmarks/scores.py --speed          time and memory of one scan

Structures: Perlin terraces, 128 x 128, gold 0..15 nm under aluminium 0..150 nm on silicon, 31 energies. The noise
level is estimated from each scan. mIoU by the published protocol (mean over samples and classes); pooled beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import microtomo
from microtomo.inverse.leaderboard import Trial, run_trial
from microtomo.registry import get_method
from microtomo.seeds import TEST_SEED, TRIAL_STRUCTURES, VALIDATION_SEED
from microtomo.simulate.samples import draw_structure

STACK = microtomo.load_stack("au-al-si")
ROWS = [  # name, structures, contrast, noise, methods; published figure or None; must; aim
    ("test set, 2 %", "perlin", "published", 0.02, {"map": (".953", ".99", ".998"), "tikhonov": (".617", ".617", "")}),
    ("test set, 2 %", "perlin", "published", 0.02, {"likelihood": ("", "", "")}),
    ("experimental structure, 2 %", "experimental", "published", 0.02, {"map": (".734", ".99", ".998")}),
    ("experimental structure, 2 %", "experimental", "published", 0.02, {"tikhonov": (".572", "", "")}),
    ("test set, material, 2 %", "perlin", "material", 0.02, {"map": ("", ".955", ".975")}),
    ("test set, 5 %", "perlin", "published", 0.05, {"map": ("", ".975", ".99")}),
    ("test set, 10 %", "perlin", "published", 0.10, {"map": ("", ".90", ".95")}),
    ("continuous, 2 %", "continuous", "published", 0.02, {"map": ("", "", ""), "likelihood": ("", "", "")}),
    ("continuous, material, 2 %", "continuous", "material", 0.02, {"map": ("", "", ""), "likelihood": ("", "", "")}),
    ("lithography, 2 %", "lithography", "published", 0.02, {"map": ("", "", "")}),
]


def score(trial: Trial, method: str, count: int, seed: int) -> dict[str, object]:
    entry = run_trial(trial, get_method(method), count, seed)
    return {
        "miou": entry.miou,
        "pooled": entry.pooled_miou,
        "recall": entry.mrecall,
        "accuracy": entry.maccuracy,
        "rmse_nm": entry.rmse_nm,
        "coverage95": entry.coverage95,
        "seconds": entry.seconds,
    }


def table(count: int, seed: int, as_json: bool) -> None:
    print(f"{count} structures, seed {seed}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}")
    head = f"{'set':28} {'method':10} {'publ.':>6} {'must':>6} {'aim':>6} {'mIoU':>7} {'pooled':>7} {'recall':>7}"
    print(f"{head} {'acc.':>6}  {'RMSE Au, Al [nm]':>17}  {'95 % cover':>12}  {'median s':>8}")
    results = []
    for name, kind, contrast, noise, methods in ROWS:
        for method, figures in methods.items():
            got = score(Trial(name, kind, contrast, noise), method, count, seed)
            results.append({"set": name, "method": method, **got})
            if as_json:
                continue
            au, al = got["rmse_nm"]
            ca, cb = got["coverage95"]
            print(
                f"{name:28} {method:10} {figures[0]:>6} {figures[1]:>6} {figures[2]:>6} {got['miou']:7.4f} "
                f"{got['pooled']:7.4f} {got['recall']:7.4f} {got['accuracy']:6.4f}  {au:8.3f} {al:8.2f}  "
                f"{ca:6.3f} {cb:5.3f}  {got['seconds']:8.2f}",
                flush=True,
            )
    if as_json:
        print(json.dumps(results, indent=1))


def speed() -> None:
    """One scan at a time, after a first one that compiles; ratio to the published solver's 68 s."""
    for kind, size, contrast, repeat in (
        ("perlin", 128, "published", 9),
        ("perlin", 128, "material", 9),
        ("perlin", 512, "published", 1),
        ("continuous", 128, "published", 3),
        ("continuous", 512, "published", 0),
    ):
        times = []
        for i in range(repeat + 1):
            truth = draw_structure(STACK, kind, VALIDATION_SEED, TRIAL_STRUCTURES, i, size, size)
            scan = microtomo.simulate_scan(STACK, truth, contrast=contrast, noise=0.02, seed=i)
            started = time.perf_counter()
            microtomo.reconstruct(scan, "map")
            times.append(time.perf_counter() - started)
        times = times[1:] or times
        middle = sorted(times)[len(times) // 2]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"map, {kind}, {size} x {size}, {contrast}: median {middle:.2f} s, slowest {max(times):.2f} s"
            + (
                f" ({68 / middle:.0f} times as fast as least_squares pixel by pixel, 68 s)"
                if (kind, size) == ("perlin", 128)
                else ""
            )
            + f"; peak memory of the process so far {peak:.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.speed:
        speed()
    else:
        table(given.samples, VALIDATION_SEED if given.validation else TEST_SEED, given.json)
