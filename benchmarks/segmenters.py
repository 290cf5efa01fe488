"""Time and memory of the segmenters of micrographs, 256 x 256.

    OMP_NUM_THREADS=1 python benchmarks/segmenters.py
    OMP_NUM_THREADS=2 python benchmarks/segmenters.py

Each image is new (drawn beforehand), plans for its size are made once, weights are read once. Memory is what Python
and NumPy allocate; that of torch is not seen. Published: Bragg filter 20.3 ms (Xeon 6138), U-Net 29.4 ms (Titan Black).
"""

from __future__ import annotations

import platform
import time
import tracemalloc
from functools import partial

import numpy as np
import torch

from microtomo.registry import get_method

IMAGES = 64
METHODS = (
    ("bragg", {}, 5),
    ("local-std", {}, 5),
    ("graphene-unet", {"symmetries": 1}, 2),
    ("graphene-unet", {}, 1),
)


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    lattice = sum(np.cos(2 * np.pi * (y * np.sin(a) + x * np.cos(a)) / 5.6) for a in (0.1, 1.147, 2.194))
    return [np.float32(1000 + 100 * lattice + 100 * rng.standard_normal((256, 256))) for _ in range(IMAGES)]


def main() -> None:
    threads = torch.get_num_threads()
    versions = f"NumPy {np.__version__}, torch {torch.__version__}"
    print(f"{platform.processor() or platform.machine()}, {versions}, threads: {threads}")
    drawn = images()
    for name, options, rounds in METHODS:
        run = partial(get_method(name).run, **options)
        run(drawn[0])
        wall, core = [], []
        for image in drawn * rounds:
            started, before = time.perf_counter(), time.process_time()
            run(image)
            wall.append(time.perf_counter() - started)
            core.append(time.process_time() - before)
        tracemalloc.start()
        run(drawn[0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(
            f"{name} {options or ''}: {1e3 * np.median(wall):.2f} ms an image (median), {1e3 * min(wall):.2f} ms "
            f"(least); processor time {1e3 * np.median(core):.2f} ms (median); {peak / 2**20:.1f} MiB beside the image"
        )


if __name__ == "__main__":
    main()
