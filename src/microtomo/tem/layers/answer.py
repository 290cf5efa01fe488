"""What the measurement of one layer says: numbers in pixels and nm, a status, its row of the table."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from microtomo.tem.layers.orthogonal import Lines
from microtomo.tem.layers.outline import Status

COLUMNS = (
    "image", "layer", "mean_px", "sd_px", "mean_nm", "sd_nm", "low_95_nm", "high_95_nm", "lines", "three_line_px",
    "status",
)  # fmt: skip
"""Columns of the table of thicknesses."""


@dataclass(frozen=True)
class LayerThickness:
    """What the measurement says of one layer; lengths in pixels, NaN where the status says that there is none.

    ``mean``, ``sd``, ``minimum``, ``maximum`` of the orthogonal lines; ``low_95``, ``high_95``: interval of the
    layer's mean thickness; ``standard_error`` of that mean, of which ``edge_error`` comes from where the edges are and
    the rest from how much of the layer the image shows; ``count`` of lines and ``effective`` number of independent
    ones; ``roughness``: rms of each edge about its own smooth line (the lower side of the lines first);
    ``three_line``: mean of three lines along rows, or along columns where the layer lies flat; ``tilt_degrees`` from
    the vertical; ``shape``: ``straight`` or ``curved``, which centre line was used; ``residual`` rms of the midpoints
    from it; ``lines`` and which of them (k,) were ``used``; the layer's ``mask`` (y, x).
    """

    status: Status
    pixel_nm: float | None = None
    image: str = ""
    layer: int = 1
    mean: float = float("nan")
    sd: float = float("nan")
    minimum: float = float("nan")
    maximum: float = float("nan")
    low_95: float = float("nan")
    high_95: float = float("nan")
    standard_error: float = float("nan")
    edge_error: float = float("nan")
    count: int = 0
    effective: float = float("nan")
    roughness: tuple[float, float] = (float("nan"), float("nan"))
    three_line: float = float("nan")
    tilt_degrees: float = float("nan")
    shape: str = ""
    residual: float = float("nan")
    lines: Lines | None = None
    used: np.ndarray | None = None
    mask: np.ndarray | None = None

    def nm(self, pixels: float) -> float:
        """A length in nm, NaN where the image has no scale."""
        return float("nan") if self.pixel_nm is None else pixels * self.pixel_nm

    def row(self) -> dict[str, str | int | float]:
        """The layer's row of the table, :data:`COLUMNS`; an empty text where there is no number."""
        values = (
            self.image, self.layer, self.mean, self.sd, self.nm(self.mean), self.nm(self.sd), self.nm(self.low_95),
            self.nm(self.high_95), self.count if self.status.measured else "", self.three_line, str(self.status),
        )  # fmt: skip
        return {
            name: "" if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in zip(COLUMNS, values, strict=True)
        }


def as_dict(answer: LayerThickness) -> dict[str, object]:
    """Every number of an answer with its unit in its name, for JSON; None where there is none."""
    plain: dict[str, object] = {"image": answer.image, "layer": answer.layer, "status": str(answer.status)}
    plain |= {"advice": answer.status.advice, "pixel_nm": answer.pixel_nm, "shape": answer.shape or None}
    skipped = {"lines", "used", "mask", "status", "pixel_nm", "image", "layer", "shape", "roughness"}
    for item in fields(answer):
        if item.name in skipped:
            continue
        value = getattr(answer, item.name)
        if item.name in ("count", "effective", "tilt_degrees"):
            plain[item.name] = _finite(value)
        else:
            plain |= {f"{item.name}_px": _finite(value), f"{item.name}_nm": _finite(answer.nm(value))}
    for side, value in zip(("low", "high"), answer.roughness, strict=True):
        plain |= {f"roughness_{side}_px": _finite(value), f"roughness_{side}_nm": _finite(answer.nm(value))}
    return plain


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
