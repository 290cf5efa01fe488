"""What a stack will look like at every energy, as a page."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure

from microtomo.physics.forward import ForwardModel
from microtomo.report.page import Picture, Report, Section, Table, write_report
from microtomo.viz.figures import save_figure
from microtomo.viz.signal import contrast_figure, contrasts, depth_figure, signal_figure


def heading(forward: ForwardModel) -> str:
    """What is shown, in a line."""
    stack = forward.stack
    layers = " on ".join([*(f"{s} 0 to {d:g} nm" for s, d in _downward(forward)), stack.substrate.symbol])
    return f"{stack.name}: {layers}; {forward.name}"


def visibility_table(forward: ForwardModel, noise: float) -> Table:
    """For each layer: the thinnest film that changes one image of one pixel by more than its noise, and where; the
    energies at which the thickest film is seen, and those at which it vanishes: its contrast changes sign."""
    header = ["layer", "with", "thinnest seen, nm", "at, keV", "thickest seen at, keV", "thickest vanishes at, keV"]
    energies = np.asarray(forward.stack.energies_kev)
    rows = []
    for found in contrasts(forward):
        seen = np.abs(found.change) > noise
        thin = np.where(seen.any(0), found.nm[np.argmax(seen, axis=0)], np.inf)
        best = int(np.argmin(thin))
        none = not np.isfinite(thin[best])
        rows.append([
            found.symbol,
            found.others or "nothing",
            "none" if none else f"{thin[best]:.3g}",
            "" if none else f"{energies[best]:g}",
            _runs(energies, seen[-1]) or "no energy",
            ", ".join(f"{e:.3g}" for e in _crossings(energies, found.change[-1])) or "none",
        ])  # fmt: skip
    return Table(header, rows)


def _downward(forward: ForwardModel) -> list[tuple[str, float]]:
    return list(reversed(list(zip(forward.stack.symbols, forward.stack.max_nm, strict=True))))


def _crossings(energies: np.ndarray, change: np.ndarray) -> list[float]:
    """Energies [keV] at which a change (e,) goes through zero, between two samples on a straight line."""
    at = np.flatnonzero(change[:-1] * change[1:] < 0)
    share = change[at] / (change[at] - change[at + 1])
    return [float(e) for e in energies[at] + share * (energies[at + 1] - energies[at])]


def _runs(energies: np.ndarray, seen: np.ndarray) -> str:
    """Energies that are seen, neighbours as ``5 to 9``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(int))).reshape(-1, 2)
    runs = [(energies[a], energies[b - 1]) for a, b in edges]
    return ", ".join(f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in runs)


def figures(forward: ForwardModel, noise: float) -> dict[str, Figure]:
    """The figures of the page by name."""
    return {
        "signal": signal_figure(forward),
        "contrast": contrast_figure(forward, noise),
        "depth": depth_figure(forward),
    }


def write_page(forward: ForwardModel, path: str | Path, noise: float = 0.02, footer: str = "") -> Path:
    """Figures, table and words as one HTML file. ``noise`` is the relative noise of a pixel in one image.

    Raises MicrotomoError where it cannot be written, and as the forward model.
    """
    about = {
        "signal": ("Signal", "Signal over bare substrate against beam energy, by thickness of each layer."),
        "contrast": (
            "Contrast",
            f"Change of the signal by each layer. Full line: as large as the noise, {100 * noise:g} %; closer to "
            "thickness 0 one image of one pixel does not see the layer. Dashed: no change, the layer vanishes.",
        ),
        "depth": (
            "Information depth",
            "Thickness beyond which the signal is that of the bulk material, to 5 % of the largest difference: nothing "
            "deeper is seen.",
        ),
    }
    with TemporaryDirectory() as folder:
        drawn = figures(forward, noise)
        sections = []
        for name, (title, text) in about.items():
            picture = Picture(save_figure(drawn[name], Path(folder) / f"{name}.png"), text)
            table = visibility_table(forward, noise) if name == "contrast" else None
            sections.append(Section(title, "", table, pictures=[picture]))
        return write_report(Report(heading(forward), forward.summary, sections, footer), path)
