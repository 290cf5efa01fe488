"""The page on networks for nanoparticles: scores, profiles, outlines, centres, spread, kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from microtomo.metrics import MaskScores
from microtomo.models.explain.kernels import first_kernels, fit_kernel
from microtomo.models.micrographs.network import SegmenterNetwork
from microtomo.models.weights import load_network
from microtomo.report.page import Picture, Report, Section, Table
from microtomo.reproduce.particle_networks import (
    HOURGLASS,
    PAPER,
    SHALLOW,
    THRESHOLDS,
    UNET,
    Answers,
    Centre,
    Curves,
    Plan,
    answers,
    centres,
    curves,
)
from microtomo.tem.protocol import Labelled
from microtomo.viz import particle_study as draw
from microtomo.viz.explanation import kernel_figure
from microtomo.viz.figures import save_figure

_DPI = 110  # as the pictures of other pages
_CROP_PX = 96  # least side of the square around a particle whose profile is drawn


@dataclass(frozen=True)
class Study:
    """All that was trained on tiles, and how it scores; ``baseline`` of the one-line filter on the same folds."""

    data: Labelled
    plan: Plan
    baseline: MaskScores
    found: tuple[Answers, ...]
    scored: dict[str, tuple[Curves, ...]]
    inner: list[Centre]

    def f1(self, network: str, threshold: float = PAPER) -> list[float]:
        """Pooled F1 of each run."""
        return [float(c.at(threshold)[2]) for c in self.scored[network]]

    def large(self, network: str) -> float:
        """Mean probability in the inner half of the largest tenth of the particles."""
        most = self.inner[-max(1, len(self.inner) // 10) :]
        return float(np.mean([c.inside[network] for c in most])) if most else float("nan")

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = {}
        for a in self.found:
            runs = self.scored[a.network]
            mean = np.mean([c.pooled[2] for c in runs], 0)
            rows[a.network] = {
                "parameters": a.parameters,
                "f1": float(np.mean(self.f1(a.network))),
                "f1_of_runs": self.f1(a.network),
                "f1_at_otsu": float(np.mean([c.at_otsu[2] for c in runs])),
                "best_f1": float(mean.max()),
                "best_threshold": float(THRESHOLDS[int(mean.argmax())]),
                "precision": float(np.mean([c.at(PAPER)[0] for c in runs])),
                "recall": float(np.mean([c.at(PAPER)[1] for c in runs])),
                "largest_tenth_inner_probability": self.large(a.network),
            }
        tiles = len(self.found[0].of[0])
        return {"tiles": tiles, "threshold": PAPER, "gaussian-otsu": self.baseline.as_dict(), "networks": rows}


def study(
    data: Labelled, groups: Sequence[str], plan: Plan, baseline: MaskScores, folder: Path, say: Callable[[str], None]
) -> Study:
    """Train everything that a plan names, and score it. Trainings are kept in ``folder``."""
    found = tuple(answers(network, plan, data, groups, folder, say) for network in plan.networks)
    scored = {a.network: tuple(curves(run, data) for run in a.of) for a in found}
    return Study(data, plan, baseline, found, scored, centres(found, data))


def study_report(of: Study, folder: Path) -> Report:
    """The page; pictures are drawn into ``folder``."""

    def picture(name: str, figure: Figure, caption: str) -> Picture:
        return Picture(save_figure(figure, folder / f"{name}.png", _DPI), caption)

    plan, tiles = of.plan, of.summary()["tiles"]
    lead = (
        f"Networks trained on labelled tiles and scored on {tiles} held-out ones: {plan.used} of {plan.folds} folds, "
        f"tiles of one place always in one fold; {plan.runs} trainings of each network with other random numbers, of "
        f"{plan.epochs * plan.samples} squares of {plan.crop_px} pixels. After Horwath, Zakharov, Megret & Stach, npj "
        "Comput. Mater. 6 (2020) 108. The labels of such data sets are often a filter's output: then they say how well "
        "a network learns that filter, not where particles end."
    )
    first = {name: runs[0] for name, runs in of.scored.items()}
    bands = {name: (c.precision, c.recall, c.f1) for name, c in first.items()}
    levels = {name: float(c.otsu.mean()) for name, c in first.items()}
    sections = [
        Section("Scores", _SCORES, _table(of)),
        Section(
            "Scores against the threshold",
            "Means over tiles, bands of one standard deviation, first run. Dots: Otsu's threshold of each network's "
            f"probabilities on the mean; line: {PAPER}, the paper's choice.",
            pictures=[picture("thresholds", draw.threshold_figure(THRESHOLDS, bands, levels, PAPER), "Thresholds.")],
        ),
        *_large_section(of, picture),
        Section(
            "Along lines across particles",
            "A large, a middling and a small particle: what the image, the label and the networks say.",
            pictures=[picture("profiles", draw.profile_figure(_profiles(of)), "Line profiles.")] if of.inner else [],
        ),
        Section(
            "Outlines",
            f"Tiles with the largest particles; lines at a probability of {PAPER}.",
            pictures=[picture("outlines", draw.contour_figure(_tiles(of), PAPER), "Outlines of all networks.")],
        ),
        Section(
            "From run to run",
            "The same training with other random numbers: what differs more than the networks do says nothing of them.",
            pictures=[picture("runs", draw.run_figure({n: of.f1(n) for n in of.scored}), "F1 of each training.")],
        ),
        *_kernels(of, picture),
    ]
    return Report("Nanoparticles: what networks see", lead, sections, "microtomo reproduce particles")


_SCORES = (
    f"All held-out pixels pooled, at a threshold of {PAPER} (mean over runs, ± their standard deviation) and at Otsu's "
    "threshold. The filter is a Gaussian and Otsu's threshold, its width chosen on each fold's training tiles, on all "
    "folds. The best F1 is that of the threshold that suits the held-out tiles best: what could be had at most."
)


def _table(of: Study) -> Table:
    scores = ("precision", "recall", f"F1 at {PAPER}", "F1 at Otsu's", "best F1, at", "inside the largest")
    header = ["", "parameters", *scores]
    b = of.baseline
    rows = [["Gaussian and Otsu", "1", f"{b.precision:.3f}", f"{b.recall:.3f}", "-", f"{b.f1:.4f}", "-", "-"]]
    for name, row in of.summary()["networks"].items():
        spread = f" ± {np.std(row['f1_of_runs'], ddof=1):.4f}" if len(row["f1_of_runs"]) > 1 else ""
        cells = [f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.4f}{spread}"]
        best = f"{row['best_f1']:.4f}, {row['best_threshold']:.2f}"
        last = [f"{row['f1_at_otsu']:.4f}", best, f"{row['largest_tenth_inner_probability']:.3f}"]
        rows.append([name, f"{row['parameters']:,}", *cells, *last])
    return Table(header, rows)


def _large_section(of: Study, picture: Callable[[str, Figure, str], Picture]) -> list[Section]:
    if not of.inner:
        return []
    names = list(of.scored)
    diameters = np.array([c.diameter_px for c in of.inner])
    inside = {name: np.array([c.inside[name] for c in of.inner]) for name in names}
    words = (
        "The paper finds that its hourglass misses the centres of the largest particles and the U-Net does not. Mean "
        "probability in the inner half of each particle that no border cuts, all runs: medians and quartiles."
    )
    if {HOURGLASS, UNET} <= set(names):
        one, other = of.large(HOURGLASS), of.large(UNET)
        words += f" In the largest tenth the hourglass gives {one:.3f}, the U-Net {other:.3f}."
    drawn = picture("centres", draw.centre_figure(diameters, inside), "Inside particles, by their size.")
    return [Section("Centres of the largest particles", words, pictures=[drawn])]


def _mean(of: Study, tile: int) -> dict[str, np.ndarray]:
    return {a.network: np.mean([run[tile] for run in a.of], 0) for a in of.found}


def _profiles(of: Study) -> list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], str]]:
    chosen = [of.inner[k] for k in (-1, len(of.inner) // 2, 0)]
    crops = []
    for centre in chosen:
        half = max(_CROP_PX // 2, int(0.9 * centre.diameter_px))
        pads = ((half, half), (half, half))
        row, column = centre.place
        part = (slice(row, row + 2 * half), slice(column, column + 2 * half))

        def cut(values: np.ndarray, part: tuple[slice, slice] = part, pads: Any = pads) -> np.ndarray:
            return np.asarray(np.pad(np.asarray(values, dtype=float), pads, mode="reflect")[part])

        answers_here = {name: cut(values) for name, values in _mean(of, centre.tile).items()}
        title = f"{of.data.names[centre.tile]}, {centre.diameter_px:.0f} px"
        crops.append((cut(of.data.images[centre.tile]), cut(of.data.labels[centre.tile]), answers_here, title))
    return crops


def _tiles(of: Study) -> list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], str]]:
    largest = list(dict.fromkeys(c.tile for c in reversed(of.inner)))[:2] or sorted(of.found[0].of[0])[:2]
    return [(of.data.images[i], of.data.labels[i], _mean(of, i), of.data.names[i]) for i in largest]


def _kernels(of: Study, picture: Callable[[str, Figure, str], Picture]) -> list[Section]:
    shallow = next((a for a in of.found if a.network == SHALLOW), None)
    if shallow is None:
        return []
    kernels = first_kernels(load_network(shallow.weights[0], SegmenterNetwork, SHALLOW))
    order = np.argsort(-np.linalg.norm(kernels.reshape(len(kernels), -1), axis=1))[:16]
    fits = [fit_kernel(kernels[k]) for k in order]
    share = np.mean([fit.explained for fit in fits])
    words = (
        f"The strongest kernels of {SHALLOW}, as sums of Gabor, Gaussian and Laplacian-of-Gaussian functions, which "
        f"explain {share:.0%} of their variance on the mean."
    )
    drawn = picture("kernels", kernel_figure(fits), "Kernels, and below each its fit and what that explains.")
    return [Section("What one layer learns", words, pictures=[drawn])]
