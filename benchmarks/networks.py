"""Seconds a network takes for one scan of 128 x 128 pixels, all of `reconstruct`, after a first scan that loads it.

OMP_NUM_THREADS=2 python benchmarks/networks.py
"""

from __future__ import annotations

import time
from statistics import median

import torch

from microtomo import reconstruct
from microtomo.inverse.leaderboard import TRIALS, scans_of
from microtomo.materials import load_stack
from microtomo.registry import list_methods
from microtomo.seeds import TEST_SEED

SCANS = 8


def main() -> None:
    stack = load_stack("au-al-si")
    scans = scans_of(TRIALS[0], SCANS, TEST_SEED, stack).data
    print(f"{SCANS} scans of 128 x 128 pixels, {torch.get_num_threads()} threads")
    for method in list_methods(task="layers"):
        if not method.learned:
            continue
        seconds = []
        for scan in scans:
            started = time.perf_counter()
            reconstruct(scan, method.name, contrast="published", stack=stack)
            seconds.append(time.perf_counter() - started)
        print(f"{method.name}: median {median(seconds[1:]):.2f} s, least {min(seconds[1:]):.2f} s")


if __name__ == "__main__":
    main()
