"""How good and how fast the physics is, beside measurements and an independent Monte Carlo.

python benchmarks/physics.py [bulk] [montecarlo] [table] [splines] [kernel] [convergence] [families] [spread]
"""

import argparse
import csv
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from microtomo.inverse.reconstruct import reconstruct
from microtomo.inverse.spread import CORRECTION
from microtomo.materials import load_stack
from microtomo.metrics import voxel_scores
from microtomo.physics.forward import forward_model
from microtomo.physics.spread_model import spread_around
from microtomo.physics.table import SignalTable, signal_table, solve_nodes
from microtomo.physics.transport import ETA, Settings, backscatter_coefficient
from microtomo.physics.transport_signal import Transport
from microtomo.seeds import TEST_SEED, TRIAL_STRUCTURES
from microtomo.simulate.samples import draw_structures
from microtomo.simulate.scans import simulate_scan
from microtomo.simulate.structures import make_structure
from microtomo.voxels import thickness_to_volume

ELEMENTS = ("C", "Al", "Si", "Cu", "Au")
PLAIN = Settings(elastic="mott")
SPREAD_SIDE, SPREAD_PIXEL_NM, SPREAD_SAMPLES = 64, 20.0, 2  # of `spread`: a field of 1.3 micrometres


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def bulk(data: Path) -> None:
    points = rows(data / "backscatter_coefficients" / "measured.csv")
    for name, settings in (("with (Z + 1)/Z", Settings()), ("without", PLAIN)):
        deviations = []
        for element in ELEMENTS:
            measured = {float(r["energy_kev"]): float(r["median"]) for r in points if r["element"] == element}
            eta = backscatter_coefficient([(element, None)], list(measured), settings=settings)
            deviations.extend(np.abs(eta - list(measured.values())))
        print(f"eta of 25 measured medians, {name:14s}: mean {np.mean(deviations):.4f}, largest {max(deviations):.4f}")


def montecarlo(data: Path) -> None:
    relative, errors = [], []
    for row in rows(data / "mott_cross_sections" / "monte_carlo.csv"):
        bare = row["sample"].startswith("bulk")
        layers = [] if bare else [("Al", float(row["al_nm"])), ("Au", float(row["au_nm"]))]
        layers.append((row["sample"].removeprefix("bulk ") if bare else "Si", None))
        eta = backscatter_coefficient(layers, [float(row["energy_kev"])], settings=PLAIN)[0]
        relative.append(eta / float(row["eta"]) - 1)
        errors.append((eta - float(row["eta"])) / float(row["standard_error"]))
    relative, errors = np.abs(relative), np.abs(errors)
    outside = ((errors > 3) & (relative > 0.01)).sum()
    print(
        f"32 Monte Carlo points: rms {100 * np.sqrt((relative**2).mean()):.2f} %, largest {100 * relative.max():.2f} % "
    )
    print(
        f"  (its own noise {100 * np.sqrt(np.mean((relative / errors) ** 2)):.2f} %); "
        f"beyond both 3 errors and 1 %: {outside}"
    )


def table(data: Path) -> None:
    """31 energies x 16 gold x 31 aluminium thicknesses, and the table that the package uses."""
    stack = load_stack("au-al-si")
    nodes = (np.arange(16.0), np.arange(0, 151, 5.0))
    started, cpu = time.perf_counter(), time.process_time()
    solve_nodes(stack, nodes, ETA, Settings(), lambda done, total: None)
    spent = time.perf_counter() - started, time.process_time() - cpu
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"31 x 16 x 31 table: {spent[0]:.1f} s ({spent[1]:.1f} s of one core), {used:.2f} GB with all libraries")
    started, cpu = time.perf_counter(), time.process_time()
    shape = [len(n) for n in signal_table(stack).nodes]
    spent = time.perf_counter() - started, time.process_time() - cpu
    print(f"31 x {shape[0]} x {shape[1]} table in use: {spent[0]:.1f} s ({spent[1]:.1f} s of one core)")


def splines(data: Path) -> None:
    """Error of interpolation, against nodes twice as dense, on even and on thin layers."""
    stack = load_stack("au-al-si")
    points = np.random.default_rng(1).uniform(0, 1, (2, 20000)) * np.array(stack.max_nm)[:, None]
    points[:, ::2] *= np.random.default_rng(2).uniform(0, 0.1, (2, 10000))
    exact, slopes = signal_table(stack, fineness=2).signal_and_slopes(points)
    for fineness in (1.0, 0.5, 0.35):
        found: SignalTable = signal_table(stack, fineness=fineness)
        signal, derivatives = found.signal_and_slopes(points)
        error, steep = np.abs(signal / exact - 1), np.abs(derivatives - slopes).max((1, 2)) / np.abs(slopes).max((1, 2))
        nodes = " x ".join(str(len(n)) for n in found.nodes)
        print(
            f"spline at {nodes} nodes: signal rms {np.sqrt((error**2).mean()):.1e}"
            f", largest {error.max():.1e}; slopes {steep.max():.1e} of the steepest"
        )


def kernel(data: Path) -> None:
    stack = load_stack("au-al-si")
    transport = signal_table(stack)
    random = np.random.default_rng(0).uniform(0, 1, (2, 128, 128)) * np.array(stack.max_nm)[:, None, None]
    maps = {"random": random.astype(np.float32), "terraces": np.repeat(random[..., ::16], 16, 2).astype(np.float32)}
    for name, thickness in maps.items():
        models: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "analytic": forward_model("material", stack).fast,
            "transport": transport.fast,
        }
        best = dict.fromkeys(models, np.inf)
        for _ in range(100):
            for model, evaluate in models.items():
                started = time.perf_counter()
                evaluate(thickness)
                best[model] = min(best[model], time.perf_counter() - started)
        print(f"128 x 128 {name}: " + ", ".join(f"{m} {1e3 * s:.2f} ms" for m, s in best.items()))


def convergence(data: Path) -> None:
    """Settings in use against 40 intervals or 14 directions."""
    energies = [5.0, 6, 7, 10, 15, 20, 25, 30, 35]
    for layers in (
        [("Si", None)],
        [("Au", 2), ("Si", None)],
        [("Au", 15), ("Si", None)],
        [("Al", 150), ("Au", 15), ("Si", None)],
    ):
        usual = backscatter_coefficient(layers, energies)
        directions = backscatter_coefficient(layers, energies, settings=Settings(angles=14))
        coarse, fine = (backscatter_coefficient(layers, energies, settings=Settings(k, 4)) for k in (20, 40))
        print(
            f"{layers}: 8 for 14 directions {np.abs(usual / directions - 1).max():.1e}, "
            f"20 for 40 intervals {np.abs(coarse / fine - 1).max():.1e}"
        )


def families(data: Path) -> None:
    """`map` on scans made with Browning's cross-sections, solved with Mott's: 3 test structures and the report's."""
    stack = load_stack("au-al-si")
    other = Transport(stack, elastic="browning")
    structures = [*draw_structures(stack, "perlin", TEST_SEED, TRIAL_STRUCTURES, range(3), 128, 128)]
    named = [(f"random {i}", truth) for i, truth in enumerate(structures)]
    for name, truth in [*named, ("experimental", make_structure(stack, "experimental", [0, 0], 128, 128))]:
        scan = simulate_scan(stack, truth, forward=other, noise=0.02, seed=TEST_SEED)
        for doubt in (True, False):
            rec = reconstruct(scan.data, "map", forward="transport" if doubt else other)
            miou = voxel_scores(rec.volume, thickness_to_volume(truth), ["empty", *stack.symbols]).miou
            error = (rec.thickness - truth).abs() <= 1.96 * rec.uncertainty
            held = ", ".join(f"{s} {error[k][truth[k] > 0].float().mean():.3f}" for k, s in enumerate(stack.symbols))
            model = "Mott's" if doubt else "their own"
            print(f"{name} (2 % noise), solved with {model}: mIoU {miou:.4f}; 95 % hold where the layer is: {held}")


def spread(data: Path) -> None:
    """`map` on scans with lateral spread, with kernels that are right and 15 % too wide or narrow."""
    stack = load_stack("au-al-si")
    right = spread_around(forward_model("transport", stack), "Si", SPREAD_PIXEL_NM)
    size = (SPREAD_SIDE, SPREAD_SIDE)
    random = draw_structures(stack, "perlin", TEST_SEED, TRIAL_STRUCTURES, range(SPREAD_SAMPLES), *size)
    named = [("experimental", make_structure(stack, "experimental", [0, 0], *size))]
    named += [(f"random {i}", truth) for i, truth in enumerate(random)]
    print(f"{SPREAD_SIDE} x {SPREAD_SIDE} pixels of {SPREAD_PIXEL_NM:g} nm, 2 % noise, transport, spread in the scan")
    for name, truth in named:
        scan = simulate_scan(stack, truth, forward=right, noise=0.02, seed=TEST_SEED, pixel_nm=SPREAD_PIXEL_NM)
        for factor in (None, 1.0, 1.15, 0.85):
            kernels = None if factor is None else right.kernels.scaled(factor)
            started = time.process_time()
            rec = reconstruct(scan, "map", forward="transport", spread=kernels)
            seconds = time.process_time() - started
            miou = voxel_scores(rec.volume, thickness_to_volume(truth), ["empty", *stack.symbols]).miou
            error = (rec.thickness - truth).abs() <= 1.96 * rec.uncertainty
            held = ", ".join(f"{s} {error[k][truth[k] > 0].float().mean():.3f}" for k, s in enumerate(stack.symbols))
            how = "not corrected" if factor is None else f"kernels {factor:g} times as wide as the true ones"
            done = rec.history.get(CORRECTION)
            ends = f"; {done['status'][0]}, width found {done['kernel_width'][0] * factor:.3f}" if done else ""
            print(
                f"{name}, {how}: mIoU {miou:.4f}; 95 % hold where the layer is: {held}{ends}; {seconds:.0f} s",
                flush=True,
            )


PARTS = {f.__name__: f for f in (bulk, montecarlo, table, splines, kernel, convergence, families, spread)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--data", type=Path, default=os.environ.get("MICROTOMO_REFERENCE_DATA", "../shared/data"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # times are those of a first use
        for part in options.parts:
            PARTS[part](Path(options.data))


if __name__ == "__main__":
    main()
