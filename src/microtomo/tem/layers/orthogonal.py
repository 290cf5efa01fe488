"""Orthogonal lines through a layer: boundary midpoints, a regression line, one perpendicular a pixel along it.

Source: the head-overcoat paper, section 2.2. Boundaries are where the level field crosses 1/2, between pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from microtomo.tem.layers.outline import Component, rim

_STEP_PX = 0.5  # between samples of a line: finer changes no length by more than 0.001 px
_ROUNDS = 6  # of regression; the line's angle settles in three
_SETTLED = 1e-5  # rad
_OUTLIER = 4.0  # robust deviations beyond which a midpoint does not draw the line
_MIDDLE = 0.3  # of the thickness, to both sides of the centre line: a line at a free end must reach as far


LINES_TO_FIT = 256
"""Lines that a centre line is fitted to on the way; the final ones are a pixel apart."""


@dataclass(frozen=True)
class Lines:
    """Lines across the layer, one a pixel of the centre line, in order.

    ``foot`` (k, 2) their points on the centre line and ``normal`` (k, 2) unit vectors, y first; ``low`` and ``high``
    (k,) where they enter and leave the layer, and ``length`` (k,) inside it [px]; ``whole`` (k,) whether both ends are
    edges of the layer within the image; ``softness`` (k,) deviation [px] of the edges that the level field's slopes
    mean (0 for a mask's); ``arc`` (k,) place along the centre line [px].
    """

    foot: np.ndarray
    normal: np.ndarray
    low: np.ndarray
    high: np.ndarray
    length: np.ndarray
    whole: np.ndarray
    softness: np.ndarray
    arc: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Midpoints (k, 2) between the two ends."""
        return np.asarray(self.foot + (0.5 * (self.low + self.high))[:, None] * self.normal)

    @property
    def ends(self) -> np.ndarray:
        """Both ends (k, 2, 2) of each line: line, end, (y, x)."""
        both = np.stack([self.low, self.high], 1)[..., None]
        return np.asarray(self.foot[:, None] + both * self.normal[:, None])


def cross(field: np.ndarray, foot: np.ndarray, normal: np.ndarray, arc: np.ndarray, reach: float) -> Lines:
    """Lines through ``foot`` (k, 2) along ``normal`` (k, 2), followed for ``reach`` [px] to both sides."""
    t = np.arange(-np.ceil(reach / _STEP_PX), np.ceil(reach / _STEP_PX) + 1) * _STEP_PX
    t = t.astype(np.float32)
    y, x = (np.float32(foot[:, None, axis]) + t * np.float32(normal[:, None, axis]) for axis in (0, 1))
    values = sampled(field, y, x)
    inside = values >= 0.5
    outside = (y < 0) | (x < 0) | (y > field.shape[0] - 1) | (x > field.shape[1] - 1)
    whole = inside.any(1) & ~(inside & outside).any(1) & ~inside[:, 0] & ~inside[:, -1]
    near, far = values[:, :-1], values[:, 1:]
    both, either = inside[:, :-1] & inside[:, 1:], inside[:, :-1] ^ inside[:, 1:]
    change = np.where(either, np.abs(far - near), 1)
    share = np.where(both, 1, np.where(either, (np.maximum(near, far) - 0.5) / change, 0))
    length = _STEP_PX * share.sum(1, dtype=np.float64)
    first, last = inside.argmax(1), inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    row = np.arange(len(foot))
    before, after = np.maximum(first - 1, 0), np.minimum(last, share.shape[1] - 1)
    low, high = t[first] - _STEP_PX * share[row, before], t[last] + _STEP_PX * share[row, after]
    soft = np.sqrt(np.pi) / 2 * _STEP_PX * (values * (1 - values)).sum(1, dtype=np.float64)
    return Lines(foot, normal, low, high, length, whole, soft, arc)


def sampled(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The field between its pixels, linear along both axes; beyond the border as on it."""
    high, wide = (max(n - 1, 1) for n in field.shape)
    places = np.stack([x * np.float32(2 / wide) - 1, y * np.float32(2 / high) - 1], axis=-1)
    values = functional.grid_sample(
        torch.from_numpy(field)[None, None], torch.from_numpy(places)[None], padding_mode="border", align_corners=True
    )
    return np.asarray(values[0, 0].numpy())


def straight(part: Component) -> Lines:
    """Perpendiculars of the regression line through the midpoints of the boundary points.

    The line starts along the component's longest extent and is fitted to the midpoints of its own perpendiculars
    until it stands still, so that it is right in any orientation.
    """
    point, direction = part.centre, part.axis
    reach = _reach(part, point, direction)
    spacing = max(1.0, part.length / LINES_TO_FIT)
    for _ in range(_ROUNDS):
        lines = _perpendiculars(part, point, direction, reach, spacing)
        chosen = usable(lines)
        if chosen.sum() < 3:
            break
        s = lines.arc[chosen]
        slope, offset = _regression(s, 0.5 * (lines.low + lines.high)[chosen])
        normal = lines.normal[0]
        point = point + (s.mean() * direction) + (offset + slope * s.mean()) * normal
        turned = direction + slope * normal
        direction = turned / np.hypot(*turned)
        if abs(slope) < _SETTLED:
            break
    return _perpendiculars(part, point, direction, reach)


def usable(lines: Lines) -> np.ndarray:
    """Which lines (k,) measure thickness: whole ones, less those at a free end that cross the layer's end.

    At an end where no line is cut by the image's border, lines count from the first that reaches across the middle
    part of the layer's usual thickness.
    """
    chosen = lines.whole.copy()
    if not chosen.any():
        return chosen
    low, high = lines.low[chosen], lines.high[chosen]
    part, middle = _MIDDLE * float(np.median(high - low)), 0.5 * float(np.median(high + low))
    across = (lines.low <= middle - part) & (lines.high >= middle + part)
    for order in (slice(None), slice(None, None, -1)):
        kept, full = chosen[order], across[order]  # views
        first = int(np.argmax(kept))
        if not (lines.length[order][:first] > 0).any() and full[first:].any():
            kept[first : first + int(np.argmax(full[first:]))] = False
    return chosen


def _perpendiculars(
    part: Component, point: np.ndarray, direction: np.ndarray, reach: float, spacing: float = 1.0
) -> Lines:
    """Lines ``spacing`` pixels apart along ``direction``, as far as the component goes."""
    along = (rim(part.mask) - point) @ direction
    arc = np.arange(np.floor(along.min()), np.ceil(along.max()) + 1, spacing)
    foot = point + arc[:, None] * direction
    normal = np.broadcast_to(np.array([-direction[1], direction[0]]), foot.shape)
    return cross(part.field, foot, normal, arc, reach)


def _reach(part: Component, point: np.ndarray, direction: np.ndarray) -> float:
    """How far across [px] the component goes from a line, and some more."""
    across = (rim(part.mask) - point) @ np.array([-direction[1], direction[0]])
    return float(np.abs(across).max() + 0.25 * part.thickness + 3)


def _regression(s: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """Slope and offset of t over s by least squares, outliers left out."""
    keep = np.ones(len(s), dtype=bool)
    for _ in range(2):
        slope, offset = np.polyfit(s[keep], t[keep], 1)
        rest = t - offset - slope * s
        scale = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) + 0.1
        keep = np.abs(rest) <= _OUTLIER * scale
        if keep.sum() < 3:
            break
    return float(slope), float(offset)
