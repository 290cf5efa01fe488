"""Draws the figures of docs/physics.md that are of no stack: `make picture` writes them to docs/images."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.transport import backscatter_coefficient
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, save_figure, styled

DOCS = Path(__file__).parents[1] / "docs"
BEAM_KEV = 20.0
DPI = 110


def measured() -> dict[str, np.ndarray]:
    """Energy, median, least and largest (rows of 4) of each element, from the table of docs/physics.md."""
    text = (DOCS / "physics.md").read_text(encoding="utf-8")
    (header,) = re.findall(r"^\| keV \|.*$", text, re.MULTILINE)
    rows = re.findall(r"^\| \d+ \|.* to .*$", text, re.MULTILINE)
    names = [cell.strip() for cell in header.strip("|").split("|")][1:]
    numbers = [[float(x) for x in re.findall(r"\.?\d+(?:\.\d+)?", row)] for row in rows]
    return {n: np.array([[r[0], *r[1 + 3 * i : 4 + 3 * i]] for r in numbers]) for i, n in enumerate(names)}


@styled
def eta() -> None:
    """Backscatter coefficients against energy beside measurements."""
    figure = new_figure(6.4, 4.2)
    axis = figure.subplots()
    energies = np.linspace(3, 40, 75)
    for (name, rows), colour in zip(measured().items(), colours.METHOD_COLOURS, strict=False):
        axis.plot(energies, backscatter_coefficient([(name, None)], energies), color=colour, linewidth=1.4, label=name)
        bars = np.abs(rows[:, 2:].T - rows[:, 1])
        axis.errorbar(
            rows[:, 0], rows[:, 1], yerr=bars, fmt="o", color=colour, markersize=3.5, capsize=2, linewidth=0.9
        )
        last = backscatter_coefficient([(name, None)], energies[-1:])[0]
        below = -8 if name == "Al" else -3  # points, so that Si and Al stand apart
        axis.annotate(name, (energies[-1], last), (4, below), textcoords="offset points")
    axis.set(xlabel="beam energy [keV]", ylabel="backscatter coefficient", xlim=(2, 42), ylim=(0, 0.6))
    axis.grid(color="#E8E8E8", linewidth=0.6)
    save_figure(figure, DOCS / "images" / "eta.png", DPI)


@styled
def exits() -> None:
    """Exit angles and exit energies of four elements."""
    figure = new_figure(8.6, 3.7)
    by_angle, by_energy = figure.subplots(1, 2)
    windows = np.arange(0.0, 91, 10)
    thresholds = np.arange(0.0, BEAM_KEV + 1, 2)
    for name, colour in zip(("C", "Si", "Cu", "Au"), colours.METHOD_COLOURS, strict=False):
        bulk = [(name, None)]
        whole = backscatter_coefficient(bulk, [BEAM_KEV])[0]
        seen = [BackscatterDetector(exit_angles_deg=(a, b)) for a, b in pairwise(windows)]
        cosines = np.cos(np.radians(windows))
        solid = 2 * math.pi * (cosines[:-1] - cosines[1:])
        share = np.array([backscatter_coefficient(bulk, [BEAM_KEV], detector=d)[0] for d in seen]) / solid / whole
        by_angle.plot((windows[:-1] + windows[1:]) / 2, share, "o-", color=colour, markersize=3, label=name)
        # the response (E - t)+ has the spectrum as its second derivative by the threshold t
        ramp = [
            backscatter_coefficient(bulk, [BEAM_KEV], detector=BackscatterDetector("energy", t))[0]
            for t in thresholds[:-1]
        ]
        spectrum = np.diff([*ramp, 0.0], 2) / whole / (thresholds[1] - thresholds[0]) ** 2
        by_energy.plot(thresholds[1:-1] / BEAM_KEV, spectrum * BEAM_KEV, "o-", color=colour, markersize=3, label=name)
    angle = np.linspace(0, 90, 91)
    by_angle.plot(angle, np.cos(np.radians(angle)) / math.pi, ":", color=colours.INK, label="cosine law")
    by_angle.set(xlabel="exit angle to the normal [degrees]", ylabel="share a steradian", ylim=(0, None))
    by_energy.set(xlabel="exit energy over beam energy", ylabel="share a unit of that", ylim=(0, None))
    for axis in (by_angle, by_energy):
        axis.grid(color="#E8E8E8", linewidth=0.6)
        axis.legend(frameon=False)
    save_figure(figure, DOCS / "images" / "exits.png", DPI)


if __name__ == "__main__":
    eta()
    exits()
