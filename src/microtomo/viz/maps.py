"""Maps of a study as coloured pixels: what a viewer shows flat, or on the surface."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from microtomo.errors import MicrotomoError
from microtomo.study import Study
from microtomo.viz import colours
from microtomo.viz.figures import array


@dataclass(frozen=True)
class ColourScale:
    """A Matplotlib colour map from ``low`` to ``high``, in ``unit``."""

    cmap: str
    low: float
    high: float
    unit: str

    def paint(self, values: Any) -> np.ndarray:
        """Colours (y, x, 4) uint8 of values (y, x); not finite is transparent."""
        values = np.asarray(values, dtype=float)
        share = (values - self.low) / max(self.high - self.low, 1e-12)
        finite = np.isfinite(values)
        pixels = colormaps[self.cmap](np.where(finite, np.clip(share, 0, 1), 0), bytes=True)
        pixels[~finite] = 0
        return np.asarray(pixels)

    def legend(self) -> dict[str, str]:
        """Ends with units, and the CSS gradient between them."""
        stops = ", ".join(to_hex(colormaps[self.cmap](i / 8)) for i in range(9))
        unit = f" {self.unit}" if self.unit else ""
        return {
            "low": f"{self.low:.3g}{unit}", "high": f"{self.high:.3g}{unit}",
            "gradient": f"linear-gradient(90deg, {stops})",
        }  # fmt: skip


def map_names(study: Study) -> list[str]:
    """Names that :func:`one_map` knows for this study, in the order of a menu."""
    layers = list(reversed(study.stack.symbols))
    names = ["signal"] if study.scan is not None else []
    if study.rec is not None:
        names += [f"{s} thickness" for s in layers] + [f"{s} standard deviation" for s in layers]
        names += [f"{s} error" for s in layers] if study.truth is not None else []
        names += ["chi-square"] + (["rejected values"] if study.rec.rejected is not None else [])
    elif study.truth is not None:
        names += [f"{s} true thickness" for s in layers]
    return names


def one_map(study: Study, name: str, energy: int = 0) -> np.ndarray:
    """Values (y, x) of a map; ``energy`` is the number of the image of the signal.

    Raises MicrotomoError for a name that is not in :func:`map_names`.
    """
    if name not in map_names(study):
        raise MicrotomoError(f"no map {name!r}: there are {', '.join(map_names(study))}")
    rec = study.rec
    if name == "signal" and study.scan is not None:
        return array(study.scan.data[min(max(int(energy), 0), len(study.scan.energies_kev) - 1)])
    if rec is None:
        return np.asarray(array(study.truth)[_layer(study, name)])
    if name == "chi-square":
        return array(rec.chi_square)
    if name == "rejected values":
        return array(rec.rejected)
    k = _layer(study, name)
    if name.endswith("standard deviation"):
        return np.asarray(array(rec.uncertainty)[k])
    thickness = array(rec.thickness)[k]
    return np.asarray(thickness - array(study.truth)[k]) if name.endswith("error") else thickness


def map_scale(study: Study, name: str) -> ColourScale:
    """Colours of a map: one scale for all energies of the signal, one for thickness and truth of a layer."""
    if name == "signal" and study.scan is not None:
        return ColourScale(colours.SIGNAL_MAP, *_ends(array(study.scan.data)), "× substrate")
    values = one_map(study, name)
    if name == "chi-square":
        return ColourScale(colours.THICKNESS_MAP, 0.0, max(2.0, _ends(values)[1]), "")
    if name == "rejected values":
        return ColourScale(colours.THICKNESS_MAP, 0.0, max(1.0, float(np.max(values))), "energies")
    if name.endswith("standard deviation"):
        return sigma_scale(study, _layer(study, name))
    k = _layer(study, name)
    if name.endswith("error"):
        limit = max(_ends(np.abs(values))[1], 0.01 * study.stack.max_nm[k])
        return ColourScale(colours.ERROR_MAP, -limit, limit, "nm")
    tops = [_ends(values)[1], _ends(array(study.truth)[k])[1] if study.truth is not None else 0.0]
    return ColourScale(colours.THICKNESS_MAP, 0.0, max(*tops, 1e-3), "nm")


def _layer(study: Study, name: str) -> int:
    return study.stack.symbols.index(name.split(" ")[0])


def sigma_scale(study: Study, layer: int | None = None) -> ColourScale:
    """Colours of the standard deviation of one layer, or of all on one scale [nm]."""
    assert study.rec is not None
    sigma = array(study.rec.uncertainty)
    top = _ends(sigma if layer is None else sigma[layer])[1]
    return ColourScale(colours.UNCERTAINTY_MAP, 0.0, max(top, 1e-3), "nm")


def png(pixels: np.ndarray) -> bytes:
    """Pixels (y, x, 4) uint8 as a PNG."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _ends(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(low), float(high)
