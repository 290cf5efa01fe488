"""Scans made by the package's own Monte Carlo, inverted through transport; and how fast the Monte Carlo is.

    python benchmarks/monte_carlo.py [scans] [speed] [--electrons 200000] [--threads 2]

`scans` follows electrons on every stack of layers that occurs in a sample, at each of 31 energies. A polynomial in the
logarithm of the energy takes out half of what is left of their noise: .5 % an energy becomes .27 %. Signals are kept in
build/monte_carlo, since they take half an hour of a core.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from microtomo.inverse.reconstruct import reconstruct
from microtomo.materials import load_stack
from microtomo.metrics import voxel_scores
from microtomo.physics.detector import Detector, detect
from microtomo.physics.monte_carlo import simulate
from microtomo.physics.walk_elastic import MOTT
from microtomo.physics.walk_tables import Elastic
from microtomo.seeds import NOISE, TEST_SEED, TRIAL_STRUCTURES, Stream, derive_seed
from microtomo.simulate.samples import draw_structures
from microtomo.simulate.structures import make_structure
from microtomo.voxels import thickness_to_volume

STACK = load_stack("au-al-si")
FEW_STACKS = 3  # the test structure with fewest stacks among the first six: eleven
SMOOTH_BARE = 4  # degree: silicon by transport is met to .01 %
SMOOTH = 8  # degree: curves of the stacks by transport are met to .1 %, aluminium of 150 nm on gold being the hardest
WALK = Elastic(MOTT, inelastic_deflection=True)  # the physics of `transport`, followed electron by electron
NOISE_LEVEL = 0.02


def scans(electrons: int, threads: int) -> None:
    test = draw_structures(STACK, "perlin", TEST_SEED, TRIAL_STRUCTURES, range(FEW_STACKS, FEW_STACKS + 1), 128, 128)
    for name, truth in ("random", test[0]), ("experimental", make_structure(STACK, "experimental", [0, 0], 128, 128)):
        stacks, where = torch.unique(truth.reshape(2, -1), dim=1, return_inverse=True)
        bare = followed((0.0, 0.0), electrons, threads)
        signal = np.stack([followed((au, al), electrons, threads) / bare for au, al in stacks.T.tolist()])
        ideal = torch.from_numpy(signal[where.numpy()].T.reshape(-1, *truth.shape[1:])).float()
        scan = detect(ideal, Detector(noise=NOISE_LEVEL), derive_seed(TEST_SEED, Stream.SAMPLES, 0, NOISE))
        for forward in ("transport", "material"):
            rec = reconstruct(scan, "map", forward=forward, stack=STACK)
            miou = voxel_scores(rec.volume, thickness_to_volume(truth), ["empty", *STACK.symbols]).miou
            inside = (rec.thickness - truth).abs() <= 1.96 * rec.uncertainty
            held = [f"{s} {inside[k][truth[k] > 0].float().mean():.3f}" for k, s in enumerate(STACK.symbols)]
            print(
                f"{name}, {len(signal)} stacks by Monte Carlo, {NOISE_LEVEL:.0%} noise, `map` by {forward}: "
                f"mIoU {miou:.4f}; 95 % hold where the layer is: {', '.join(held)}"
            )


def followed(thickness_nm: tuple[float, float], electrons: int, threads: int) -> np.ndarray:
    """Backscatter coefficient (e,) of aluminium over gold on silicon, smoothed over the energies."""
    path = Path("build") / "monte_carlo" / f"au{thickness_nm[0]:g}_al{thickness_nm[1]:g}_{electrons}.npy"
    if not path.is_file():
        films = [(s, nm) for s, nm in zip(("Al", "Au"), thickness_nm[::-1], strict=True) if nm > 0]
        eta = [
            simulate([*films, ("Si", None)], e, electrons, seed=k, elastic=WALK, threads=threads).signal()[0]
            for k, e in enumerate(STACK.energies_kev)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array(eta))
    eta, energies = np.load(path), np.log(STACK.energies_kev)
    degree = SMOOTH if any(thickness_nm) else SMOOTH_BARE
    return np.exp(np.polynomial.Polynomial.fit(energies, np.log(eta), degree)(energies))


def speed(electrons: int, threads: int) -> None:
    for count in sorted({1, threads}):
        simulate([("Si", None)], 10.0, 1000, seed=0, threads=count)
        started = time.perf_counter()
        simulate([("Si", None)], 10.0, electrons, seed=1, threads=count)
        print(
            f"Monte Carlo, 10 keV, Si, {count} thread(s): {electrons / (time.perf_counter() - started):.2e} electrons/s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["scans", "speed"], choices=["scans", "speed"])
    parser.add_argument("--electrons", type=int, default=200_000, help="of each stack and energy")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for part in options.parts:
        {"scans": scans, "speed": speed}[part](options.electrons, options.threads)


if __name__ == "__main__":
    main()
