"""Two reconstructions beside each other: how far they are apart, in nm and in their own error bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.scan import Reconstruction, as_tensor

_NORMAL_95 = 1.96  # standard deviations that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Comparison:
    """Differences second - first ([n,] l, y, x): in nm, and over the standard deviation sqrt(s1² + s2²) of independent
    results; NaN where either has no value. ``same_scan``: both are of one scan, so that its noise is in both."""

    symbols: tuple[str, ...]
    difference: np.ndarray
    sigmas: np.ndarray
    pixel_nm: float
    same_scan: bool

    def as_dict(self) -> dict[str, Any]:
        """Numbers by layer: mean, root mean square, median of the size and 95 % quantile of it [nm]; root mean square
        in sigmas, and the share of pixels within 1.96 of them; ``pixels`` that were compared."""
        layers = {}
        for symbol, nm, sigma in zip(
            self.symbols, np.moveaxis(self.difference, -3, 0), np.moveaxis(self.sigmas, -3, 0), strict=True
        ):
            nm, sigma = nm[np.isfinite(nm)], sigma[np.isfinite(sigma)]
            layers[symbol] = {
                "mean_nm": float(nm.mean()),
                "rms_nm": float(np.sqrt((nm**2).mean())),
                "median_size_nm": float(np.median(np.abs(nm))),
                "size95_nm": float(np.quantile(np.abs(nm), 0.95)),
                "rms_sigmas": float(np.sqrt((sigma**2).mean())) if len(sigma) else None,
                "within95": float((np.abs(sigma) <= _NORMAL_95).mean()) if len(sigma) else None,
                "pixels": len(nm),
            }
        return {"same_scan": self.same_scan, "layers": layers}


def compare(first: Reconstruction, second: Reconstruction) -> Comparison:
    """Compare two reconstructions of one field, pixel by pixel.

    Raises MicrotomoError for other layers, sizes or pixel sizes, and where no pixel has a value in both.
    """
    symbols = tuple(first.stack.symbols)
    if symbols != tuple(second.stack.symbols):
        others = ", ".join(second.stack.symbols)
        raise MicrotomoError(f"the layers are {', '.join(symbols)} in the first but {others} in the second")
    a, b, s, t = (
        as_tensor(v).detach().cpu().numpy().astype(float)
        for v in (first.thickness, second.thickness, first.uncertainty, second.uncertainty)
    )
    if a.shape != b.shape:
        raise MicrotomoError(f"the maps are {a.shape} in the first but {b.shape} in the second: compare the same field")
    if not np.isclose(first.pixel_nm, second.pixel_nm, rtol=1e-3):
        raise MicrotomoError(f"pixels are {first.pixel_nm:g} nm in the first but {second.pixel_nm:g} nm in the second")
    difference, deviation = b - a, np.hypot(s, t)
    if not np.isfinite(difference).any(axis=(*range(difference.ndim - 3), -2, -1)).all():
        raise MicrotomoError("no pixel has a thickness in both")
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = np.where(deviation > 0, difference / deviation, np.nan)
    scans = [rec.history.get("input_sha256") for rec in (first, second)]
    return Comparison(symbols, difference, sigmas, first.pixel_nm, scans[0] is not None and scans[0] == scans[1])
