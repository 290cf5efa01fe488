"""Size distribution of particles: mean, median, log-normal fit, histogram; and how sizes agree with a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtomo.errors import MicrotomoError


@dataclass(frozen=True)
class SizeDistribution:
    """``mean``, ``deviation`` and ``median`` of the diameters; ``geometric_mean`` and ``geometric_deviation`` (a
    factor) of the log-normal distribution most likely to give them, with the standard error of the first's logarithm;
    ``surface_mean`` sum d^3 / sum d^2 (Sauter); ``edges`` (bins + 1,) and ``counts`` (bins,) of the histogram."""

    number: int
    mean: float
    deviation: float
    median: float
    geometric_mean: float
    geometric_deviation: float
    log_mean_error: float
    surface_mean: float
    edges: np.ndarray
    counts: np.ndarray

    def density(self, diameter: np.ndarray) -> np.ndarray:
        """Probability density of the log-normal fit at diameters above 0, per unit of the diameter."""
        sigma = max(np.log(self.geometric_deviation), 1e-9)
        place = (np.log(diameter) - np.log(self.geometric_mean)) / sigma
        return np.asarray(np.exp(-0.5 * place**2) / (np.sqrt(2 * np.pi) * sigma * diameter))

    def summary(self, unit: str) -> dict[str, float]:
        """Plain values for JSON, of lengths in ``unit``."""
        return {
            "measured": self.number,
            f"mean_{unit}": self.mean,
            f"deviation_{unit}": self.deviation,
            f"median_{unit}": self.median,
            f"geometric_mean_{unit}": self.geometric_mean,
            "geometric_deviation": self.geometric_deviation,
            f"surface_mean_{unit}": self.surface_mean,
        }

    def sentence(self, unit: str) -> str:
        """Mean, median and the log-normal fit in words."""
        fit = f"log-normal {self.geometric_mean:.3g} {unit} ×/÷ {self.geometric_deviation:.2f}"
        return f"mean {self.mean:.3g} {unit}, median {self.median:.3g} {unit}, {fit}"


def size_distribution(diameters: np.ndarray, border: np.ndarray | None = None) -> SizeDistribution:
    """Distribution of diameters (n,) of any unit; those marked in ``border`` (n,) are cut by the edge and left out.

    Bins after Freedman & Diaconis (1981). Raises MicrotomoError where nothing is left or a diameter is not above 0.
    """
    kept = np.asarray(diameters, dtype=np.float64)
    kept = kept if border is None else kept[~np.asarray(border, dtype=bool)]
    if kept.size == 0:
        raise MicrotomoError("there is no whole particle to take a size distribution of: all are cut by the border")
    if not (np.isfinite(kept).all() and (kept > 0).all()):
        raise MicrotomoError("diameters must be finite and above 0")
    logs = np.log(kept)
    sigma = float(logs.std())
    edges = np.histogram_bin_edges(kept, bins="fd" if kept.size > 1 else 1)
    if len(edges) > _MOST_BINS:
        edges = np.linspace(kept.min(), kept.max(), _MOST_BINS)
    counts, edges = np.histogram(kept, edges)
    return SizeDistribution(
        number=int(kept.size),
        mean=float(kept.mean()),
        deviation=float(kept.std(ddof=1)) if kept.size > 1 else 0.0,
        median=float(np.median(kept)),
        geometric_mean=float(np.exp(logs.mean())),
        geometric_deviation=float(np.exp(sigma)),
        log_mean_error=sigma / float(np.sqrt(kept.size)),
        surface_mean=float((kept**3).sum() / (kept**2).sum()),
        edges=edges,
        counts=counts,
    )


_MOST_BINS = 200  # edges of a histogram: a few giants would else ask for thousands of bins
