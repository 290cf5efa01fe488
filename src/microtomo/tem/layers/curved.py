"""Lines across a bent layer: normals of its local centre line, a smooth curve through the boundary midpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline, make_lsq_spline

from microtomo.tem.layers.orthogonal import LINES_TO_FIT, Lines, cross, usable
from microtomo.tem.layers.outline import Component

_MOST_SPANS = 6  # of the curve: it follows the layer's bends, not the roughness of its edges
_SPAN_THICKNESSES = 2.0  # the least length of one span, in thicknesses of the layer
_ROUNDS = 3  # the normals stand still after two
_LEAST_RESIDUAL_PX = 0.5  # a line that fits the midpoints so closely needs no curve
_GAIN = 0.6  # a curve is taken where it leaves less than this share of the straight line's residual
_SHARPEST = 0.35  # half the thickness over the radius: beyond it the normals crowd on the inner edge


@dataclass(frozen=True)
class Curve:
    """A centre line u(s) in the frame of a straight one: ``origin`` (y, x), unit ``direction`` and ``normal``."""

    origin: np.ndarray
    direction: np.ndarray
    normal: np.ndarray
    spline: BSpline

    def at(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offset u and slope du/ds at ``s``; straight on beyond the curve's ends."""
        low, high = self.spline.t[0], self.spline.t[-1]
        held = np.clip(s, low, high)
        slope = self.spline.derivative()(held)
        return self.spline(held) + slope * (s - held), slope

    def feet(self, start: float, stop: float, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (k, 2) ``spacing`` pixels of arc apart, unit normals (k, 2), and the arc (k,)."""
        fine = np.arange(start, stop + 0.25, 0.25)
        u, slope = self.at(fine)
        stretch = np.hypot(1, slope)
        arc = np.concatenate([[0.0], np.cumsum(0.125 * (stretch[1:] + stretch[:-1]))])
        even = np.arange(0.0, arc[-1], spacing)
        s = np.interp(even, arc, fine)
        u, slope = self.at(s)
        foot = self.origin + s[:, None] * self.direction + u[:, None] * self.normal
        across = self.normal - slope[:, None] * self.direction
        return foot, across / np.hypot(1, slope)[:, None], even + start


def curved(part: Component, line: Lines) -> Lines:
    """Lines along the normals of the centre line that the midpoints of the straight lines ``line`` begin.

    Centre line and normals are found in turn: the midpoints between the ends of the normals give the next curve.
    """
    normal = line.normal[0]
    direction = np.array([normal[1], -normal[0]])
    origin = line.foot[0] - line.arc[0] * direction
    lines, start, stop = line, float(line.arc[0]), float(line.arc[-1])
    for spacing in (max(1.0, part.length / LINES_TO_FIT),) * (_ROUNDS - 1) + (1.0,):
        curve = _fit(lines, part, origin, direction, normal)
        if curve is None:
            return line
        foot, across, arc = curve.feet(start, stop, spacing)
        lines = cross(part.field, foot, across, arc, 0.9 * part.thickness + 6)
    return lines


def residuals(lines: Lines) -> np.ndarray:
    """Distances [px] of the midpoints of the usable lines from the centre line that they were drawn from."""
    return np.asarray(0.5 * (lines.low + lines.high)[usable(lines)])


def bent(line: Lines, curve: Lines) -> bool:
    """Whether the layer needs the curve: by the midpoints' residuals from the straight line and from the curve."""
    if _sharpest(curve) > _SHARPEST:
        return False
    straight, smooth = residuals(line), residuals(curve)
    if len(straight) < 3 or len(smooth) < 3:
        return len(smooth) > len(straight)
    before, after = float(np.std(straight)), float(np.std(smooth))
    return before > _LEAST_RESIDUAL_PX and after < _GAIN * before


def _sharpest(lines: Lines) -> float:
    """Half the thickness over the least radius of the centre line, from the turn of neighbouring normals."""
    turn = np.abs(np.diff(np.arctan2(lines.normal[:, 0], lines.normal[:, 1])))
    turn = np.minimum(turn, 2 * np.pi - turn) / np.maximum(np.diff(lines.arc), 1e-9)
    used = usable(lines)
    both = used[1:] & used[:-1]
    return 0.5 * float(turn[both].max() * np.median(lines.length[used])) if both.any() else 0.0


def _fit(lines: Lines, part: Component, origin: np.ndarray, direction: np.ndarray, normal: np.ndarray) -> Curve | None:
    """The least-squares cubic spline through the midpoints, or None where there are too few."""
    relative = lines.middle[usable(lines)] - origin
    s, u = relative @ direction, relative @ normal
    order = np.argsort(s, kind="stable")
    s, u = s[order], u[order]
    extent = float(s[-1] - s[0]) if len(s) else 0.0
    spans = int(np.clip(round(extent / (_SPAN_THICKNESSES * part.thickness)), 1, _MOST_SPANS))
    if len(s) < 4 * (spans + 3) or extent <= 0:
        return None
    knots = np.concatenate([[s[0]] * 4, s[0] + extent * np.arange(1, spans) / spans, [s[-1]] * 4])
    try:
        spline = make_lsq_spline(s, u, knots)
    except (ValueError, np.linalg.LinAlgError):  # a gap as long as a span
        return None
    return Curve(origin, direction, normal, spline)
