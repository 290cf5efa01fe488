"""Thickness of a thin layer from its mask or probability map: orthogonal lines, an interval that covers, a status.

Source: the head-overcoat paper, sections 2.2 and 3.3; beyond it: edges between pixels, layers in any orientation,
lines normal to a curved centre line, and uncertainties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.answer import LayerThickness
from microtomo.tem.layers.curved import bent, curved, residuals
from microtomo.tem.layers.orthogonal import Lines, cross, straight, usable
from microtomo.tem.layers.outline import Component, Status, components, fault, level, rivals
from microtomo.tem.layers.uncertainty import mean_error, rounding_error

_LEAST_LINES = 8
_LEAST_SHARE = 0.5  # of the lines through the layer that must be whole
_LEAST_ASPECT = 1.0  # measured length over thickness
_MOST_SPREAD = 0.35  # standard deviation over mean thickness of one layer
_MOST_BROKEN = 0.25  # share of lines that leave the layer and enter it again
_GAP = 0.1  # of a line's length outside the layer, from which on it counts as broken
_BRANCH = 2.5  # lines so many times as long as usual run along a layer that crosses this one
_MOST_BRANCH = 0.1  # share of the mask in such lines
_MOST_ELSEWHERE = 0.5  # probability outside of the layers, summed, over the area of the largest
_LEAST_CERTAINTY = 0.75  # mean probability inside the mask of a layer that the segmenter is sure of

_MOST_UNSURE = 0.2  # standard error of where the edges are, over the thickness, as the softness of a map says it
_MOST_ERROR = 0.044
"""The same as a method says it, of layer-unet: of 200 images of seed 900 for validation (``benchmarks/layers.py``)
126 have less, one of them with a thickness more than 10 % off; with 0.0525 it is 140, three of them more than that."""

EDGE_SHARE = 0.6
"""Error common to a whole edge over the edge's softness in a probability map, for layer-unet: with it the intervals of
60 validation images hold 98 % of the layers, with 0.55 96 % and with 0.5 91 % (``python benchmarks/layers.py --seed 900
--shares``). A segmenter of other training needs its own."""


def measure_layer(
    layer: np.ndarray,
    pixel_nm: float | None = None,
    *,
    shape: str = "auto",
    image: str = "",
    edge_share: float = EDGE_SHARE,
) -> LayerThickness:
    """Thickness of the layer of a mask (bool) or probability map (float, 0..1) (y, x): its largest component.

    ``shape``: ``straight`` lines as published, ``curved`` along the local centre line, or ``auto`` by the residual.
    ``edge_share``: for probability maps, the error common to a whole edge as a share of the edge's softness.
    Where the mask is not one layer that crosses the image, the status says so and there is no number.
    Raises MicrotomoError for values that are no mask, and a pixel size that is not positive.
    """
    checked = _scale(pixel_nm)
    parts = components(level(layer))
    status = fault(parts)
    if status is not Status.OK:
        return LayerThickness(status, checked, image)
    return _measure(parts[0], _is_mask(layer), checked, shape, image, edge_share)


def measure_layers(
    layers: np.ndarray,
    pixel_nm: float | None = None,
    *,
    shape: str = "auto",
    image: str = "",
    edge_share: float = EDGE_SHARE,
    edge_errors: Sequence[float] = (),
) -> list[LayerThickness]:
    """Every layer of a mask or probability map (y, x), left to right (top to bottom where they lie flat).

    The largest component is one, and so are those beside it, if each crosses the image. Else the one answer says why.
    ``edge_errors``: standard error [px] of each layer's thickness because of where its edges are, where it is known.
    Raises as :func:`measure_layer`.
    """
    checked = _scale(pixel_nm)
    parts = components(level(layers))
    status = fault(parts)
    crossing = [parts[0], *rivals(parts)] if parts else []
    several = status is Status.TWO_LAYERS and all(fault([part]) is Status.OK for part in crossing)
    if not (status is Status.OK or several):
        return [LayerThickness(status, checked, image)]
    if not _is_mask(layers) and _elsewhere(layers, crossing) > _MOST_ELSEWHERE:
        return [LayerThickness(Status.NOT_ONE_LAYER, checked, image)]
    flat = abs(crossing[0].axis[1]) > abs(crossing[0].axis[0])
    crossing.sort(key=lambda part: float(part.centre[0 if flat else 1]))
    known: Sequence[float | None] = edge_errors if len(edge_errors) == len(crossing) else [None] * len(crossing)
    answers = [
        _measure(part, _is_mask(layers), checked, shape, image, edge_share, error)
        for part, error in zip(crossing, known, strict=True)
    ]
    return [replace(answer, layer=k + 1) for k, answer in enumerate(answers)]


def measure_label_image(
    labels: np.ndarray,
    pixel_nm: float | None = None,
    *,
    layers: tuple[int, ...] = (1,),
    shape: str = "auto",
    image: str = "",
) -> list[LayerThickness]:
    """The layers of a label image (y, x) of whole numbers, a row for each label of ``layers``: its largest component.

    Raises MicrotomoError for an image that holds no labels, and as :func:`measure_layer`.
    """
    values = np.asarray(labels)
    if values.ndim != 2 or not (values.dtype == bool or np.issubdtype(values.dtype, np.integer)):
        raise MicrotomoError(f"a label image is (y, x) of whole numbers; got {values.dtype} of shape {values.shape}")
    return [
        replace(measure_layer(values == number, pixel_nm, shape=shape, image=image), layer=number) for number in layers
    ]


def _scale(pixel_nm: float | None) -> float | None:
    if pixel_nm is not None and not (np.isfinite(pixel_nm) and pixel_nm > 0):
        raise MicrotomoError(f"pixel size {pixel_nm} nm: give a positive number, or none where it is not known")
    return pixel_nm


def _is_mask(layer: np.ndarray) -> bool:
    """Whether levels say nothing about where between two pixels an edge lies."""
    values = np.asarray(layer)
    return values.dtype == bool or bool(np.isin(values, (0, 1)).all())


def _elsewhere(levels: np.ndarray, parts: Sequence[Component]) -> float:
    """Probability outside of the layers, summed, over the area of the largest."""
    outside = ~np.any([part.mask for part in parts], axis=0)
    return float(levels[outside].sum() / parts[0].mask.sum())


def _measure(
    part: Component,
    is_mask: bool,
    pixel_nm: float | None,
    shape: str,
    image: str,
    edge_share: float,
    edge_error: float | None = None,
) -> LayerThickness:
    lines, name = _lines(part, shape)
    used = usable(lines)
    status = _doubt(part, lines, used, is_mask)
    if status is not Status.OK:
        return LayerThickness(status, pixel_nm, image, mask=part.mask)
    lengths = lines.length[used]
    edges = _edge_error(lines, used, is_mask, edge_share) if edge_error is None else edge_error
    if not is_mask and edges > (_MOST_UNSURE if edge_error is None else _MOST_ERROR) * lengths.mean():
        return LayerThickness(Status.UNSURE, pixel_nm, image, mask=part.mask)
    error = mean_error(lengths, edges)
    direction = np.array([lines.normal[:, 1].mean(), -lines.normal[:, 0].mean()])
    tilt = float(np.degrees(np.arctan(direction[1] / direction[0]))) if direction[0] else 90.0
    return LayerThickness(
        Status.NO_SCALE if pixel_nm is None else Status.OK,
        pixel_nm,
        image,
        mean=float(lengths.mean()),
        sd=float(lengths.std(ddof=1)),
        minimum=float(lengths.min()),
        maximum=float(lengths.max()),
        low_95=error.low,
        high_95=error.high,
        standard_error=error.total,
        edge_error=error.edges,
        count=len(lengths),
        effective=error.effective,
        roughness=(_roughness(lines.arc[used], lines.low[used]), _roughness(lines.arc[used], lines.high[used])),
        three_line=three_lines(part, abs(tilt) > 45),
        tilt_degrees=tilt,
        shape=name,
        residual=float(np.sqrt(np.mean(residuals(lines) ** 2))),
        lines=lines,
        used=used,
        mask=part.mask,
    )


def _lines(part: Component, shape: str) -> tuple[Lines, str]:
    """Lines across the layer, and which centre line they stand on."""
    if shape not in ("auto", "straight", "curved"):
        raise MicrotomoError(f"shape {shape!r}: choose auto, straight or curved")
    line = straight(part)
    if shape == "straight" or not usable(line).any():
        return line, "straight"
    curve = curved(part, line)
    return (curve, "curved") if shape == "curved" or bent(line, curve) else (line, "straight")


def _doubt(part: Component, lines: Lines, used: np.ndarray, is_mask: bool) -> Status:
    """Why the lines are not those of one layer, if so."""
    through = lines.length > 0
    if not lines.whole.any() or used.sum() < _LEAST_SHARE * through.sum():
        reaches = part.length < 2 * part.thickness
        return Status.TOO_SHORT if reaches and lines.whole.any() else Status.EDGE_OUTSIDE
    lengths = lines.length[used]
    if used.sum() < max(_LEAST_LINES, _LEAST_ASPECT * lengths.mean()):
        return Status.TOO_SHORT
    broken = (lines.high - lines.low)[used] > (1 + _GAP) * lengths + 1
    unsure = not is_mask and float(part.field[part.mask].mean()) < _LEAST_CERTAINTY
    branch = lines.length[lines.length > _BRANCH * np.median(lengths)].sum() > _MOST_BRANCH * lines.length.sum()
    if branch or broken.mean() > _MOST_BROKEN or lengths.std() > _MOST_SPREAD * lengths.mean() or unsure:
        return Status.NOT_ONE_LAYER
    return Status.OK


def _edge_error(lines: Lines, used: np.ndarray, is_mask: bool, edge_share: float) -> float:
    """Standard error [px] of the mean thickness because both edges are known so well and no better."""
    if not is_mask:
        return float(np.sqrt(2) * edge_share * lines.softness[used].mean())
    return float(np.hypot(rounding_error(lines.ends[used, 0]), rounding_error(lines.ends[used, 1])))


def _roughness(arc: np.ndarray, edge: np.ndarray) -> float:
    """Rms [px] of an edge about the straight line through it, seen from the centre line."""
    return float(np.sqrt(np.mean((edge - np.polyval(np.polyfit(arc, edge, 1), arc)) ** 2)))


def three_lines(part: Component, flat: bool) -> float:
    """Mean length [px] of three lines along the rows, or along the columns of a layer that lies ``flat``.

    They stand at a quarter, half and three quarters of the layer's extent; NaN where none is wholly in the image.
    """
    along = 1 if flat else 0
    filled = np.nonzero(part.mask.any(1 - along))[0]
    place = filled[0] + np.array([0.25, 0.5, 0.75]) * (filled[-1] - filled[0])
    middle = 0.5 * (part.mask.shape[1 - along] - 1)
    foot = np.full((3, 2), middle)
    foot[:, along] = np.round(place)
    normal = np.zeros((3, 2))
    normal[:, 1 - along] = 1.0
    lines = cross(part.field, foot, normal, place, middle + 1)
    return float(lines.length[lines.whole].mean()) if lines.whole.any() else float("nan")
