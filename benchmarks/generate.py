"""Speed of the data-set generator with writing, beside the raw rates of the same minute and the published generator.

python benchmarks/generate.py [--samples 3000] [--folder DIR] [--dtype float16] [--structures perlin]
"""

import argparse
import os
import shutil
import tempfile
import time

import numpy as np

from microtomo.physics.kernels import counter_normals
from microtomo.simulate.dataset import load_config
from microtomo.simulate.generation import generate_dataset

PUBLISHED_PER_S = 0.55
BLOCK = np.random.default_rng(0).standard_normal((33, 128, 128), dtype=np.float32)


def raw_write_rate(folder: str, megabytes: int = 400) -> float:
    """Bytes a second of one process that writes samples one by one and syncs."""
    count = megabytes * 10**6 // BLOCK.nbytes
    path = os.path.join(folder, "raw")
    started = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            file.write(BLOCK)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    os.unlink(path)
    return count * BLOCK.nbytes / seconds


def normals_rate(seconds: float = 1.0) -> float:
    """Normal numbers a second on one core."""
    counter_normals(31 * 128 * 128, 0)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        counter_normals(31 * 128 * 128, count)
        count += 1
    return count * 31 * 128 * 128 / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--folder", help="where to write; a temporary folder of the system when not given")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16"))
    parser.add_argument("--structures", default="perlin")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    config = load_config(samples=options.samples, dtype=options.dtype, structures={options.structures: 1})
    folder = tempfile.mkdtemp(prefix="microtomo-benchmark-", dir=options.folder)
    seen: list[tuple[float, int]] = []

    def progress(written: int) -> None:
        seen.append((time.perf_counter(), written))

    try:
        disk, normals = raw_write_rate(folder), normals_rate()
        made = generate_dataset(config, os.path.join(folder, "set"), workers=options.workers, progress=progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    begun = next(i for i, (_, written) in enumerate(seen) if written > 0)
    steady = (seen[-1][1] - seen[begun][1]) / max(seen[-1][0] - seen[begun][0], 1e-9)
    rate = made.written / made.seconds
    print(f"{made.written} samples 128 x 128 x 31, {options.structures}, {options.dtype}, {made.workers} workers")
    print(f"with writing         {rate:8.0f} samples/s ({made.bytes / made.seconds / 1e6:.0f} MB/s)")
    print(f"after worker start   {steady:8.0f} samples/s")
    print(f"published generator  {PUBLISHED_PER_S:8.2f} samples/s: {rate / PUBLISHED_PER_S:.0f} times as fast")
    print(f"raw disk write       {disk / 1e6:8.0f} MB/s = {disk / config.sample_bytes:.0f} samples/s")
    print(
        f"raw normal numbers   {normals / 1e6:8.0f} million/s a core = {normals / (31 * 128**2):.0f} samples/s a core"
    )


if __name__ == "__main__":
    main()
