"""From a mask or a probability map to the one layer in it, or to the reason why there is none to measure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from microtomo.errors import MicrotomoError

_LEAST_PIXELS = 16  # a smaller component is noise
_BORDER_SHARE = 0.01  # of the image's side: a layer that ends so near the border reaches it
_SIDE_BY_SIDE = 0.5  # two components that overlap along the layer by this share of the longer are two layers
_PIECE = 0.05  # of the largest's area: what is smaller is no piece of a broken layer
_RIVAL_THICKNESS = 0.25  # of the largest's: a thinner neighbour is no layer of its own


class Status(StrEnum):
    """What the measurement says of one layer: a number that can be trusted, or why there is none."""

    OK = "ok"
    NO_SCALE = "no scale"
    EMPTY = "empty"
    TWO_LAYERS = "two layers"
    ONE_SIDE = "touches one side only"
    NO_SIDE = "touches no side"
    EDGE_OUTSIDE = "edge outside the image"
    NOT_ONE_LAYER = "not one layer"
    TOO_SHORT = "too short"
    UNSURE = "unsure"

    @property
    def measured(self) -> bool:
        """Whether there is a thickness, at least in pixels."""
        return self in (Status.OK, Status.NO_SCALE)

    @property
    def advice(self) -> str:
        """One sentence that says what it means and what to do."""
        return _ADVICE[self]


_ADVICE = {
    Status.OK: "The layer was measured.",
    Status.NO_SCALE: "The image has no scale: give the size of a pixel in nm.",
    Status.EMPTY: "No layer was found: look at the image, or give a mask.",
    Status.TWO_LAYERS: "Two layers lie side by side: measure each, or crop the image to one.",
    Status.ONE_SIDE: "The layer ends inside the image: give an image that it crosses from side to side.",
    Status.NO_SIDE: "What was found lies wholly inside the image: give an image that the layer crosses.",
    Status.EDGE_OUTSIDE: "An edge of the layer lies outside the image: give an image that shows both edges.",
    Status.NOT_ONE_LAYER: "The mask has not the shape of one layer: look at it before you use any number.",
    Status.UNSURE: "Where its edges lie is not clear enough for a number: look at the image, or give a mask.",
    Status.TOO_SHORT: "Too little of the layer is in view: give an image with more of it.",
}


@dataclass(frozen=True)
class Component:
    """One connected component, its holes filled.

    ``field`` (y, x) float32: the level that is 1/2 on its boundary, 1 inside it, without the other components;
    ``mask`` (y, x) bool; ``centre`` (y, x) and unit vector ``axis`` (y, x) of its longest extent; ``length`` along
    the axis and ``thickness`` = area / length, both in pixels and rough.
    """

    field: np.ndarray
    mask: np.ndarray
    centre: np.ndarray
    axis: np.ndarray
    length: float
    thickness: float
    span: tuple[float, float]


def level(image: np.ndarray) -> np.ndarray:
    """A mask (bool) or probability map (y, x) as float32 levels. Raises MicrotomoError for anything else."""
    values = np.asarray(image)
    if values.ndim != 2 or values.size == 0:
        raise MicrotomoError(f"a mask is (y, x); got shape {values.shape}: give one image at a time")
    if values.dtype == bool:
        return values.astype(np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise MicrotomoError(f"values of type {values.dtype} are neither a mask nor probabilities: give `labels == 1`")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise MicrotomoError("probabilities must lie in 0..1: give the segmenter's probability, not its logits")
    return values.astype(np.float32)


def components(levels: np.ndarray) -> list[Component]:
    """The connected components of ``levels`` (y, x) >= 1/2, largest first, specks left out."""
    above = levels >= 0.5
    numbers, count = ndimage.label(above, structure=np.ones((3, 3), dtype=int))
    if count == 0:
        return []
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    largest = np.argsort(-sizes[1:], kind="stable") + 1
    kept = [int(n) for n in largest if sizes[n] >= max(_LEAST_PIXELS, 0.01 * sizes.max())]
    boxes = ndimage.find_objects(numbers)
    return [_component(levels, above, numbers, n, boxes[n - 1]) for n in kept]


def _component(
    levels: np.ndarray, above: np.ndarray, numbers: np.ndarray, number: int, box: tuple[slice, slice]
) -> Component:
    mask = np.zeros(above.shape, dtype=bool)
    mask[box] = ndimage.binary_fill_holes(numbers[box] == number)
    own = mask & (numbers != number)
    field = np.where(above & ~mask, np.float32(0), levels)
    field[own] = 1.0
    centre, axis, area = _moments(mask[box], (box[0].start, box[1].start))
    along = (rim(mask) - centre) @ axis
    span = float(along.min()), float(along.max())
    length = span[1] - span[0] + 1
    return Component(field, mask, centre, axis, length, area / length, span)


def rim(mask: np.ndarray) -> np.ndarray:
    """Pixels (k, 2) of a mask (y, x) that have a neighbour outside or lie at the image's border: all of its extent."""
    edge = mask.copy()
    edge[1:-1, 1:-1] &= ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
    return np.stack(np.nonzero(edge), 1)


def _moments(mask: np.ndarray, corner: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Centre (y, x), axis of the longest extent and area of a mask whose first pixel lies at ``corner``."""
    area = int(mask.sum())
    rows, columns = mask.sum(1, dtype=np.float64), mask.sum(0, dtype=np.float64)
    y, x = np.arange(len(rows)), np.arange(len(columns))
    my, mx = rows @ y / area, columns @ x / area
    mixed = float((mask @ (x - mx)) @ (y - my)) / area
    spread = np.array([[rows @ (y - my) ** 2 / area, mixed], [mixed, columns @ (x - mx) ** 2 / area]])
    _, vectors = np.linalg.eigh(spread + 1e-9 * np.eye(2))
    axis = vectors[:, 1] * (1 if vectors[np.argmax(np.abs(vectors[:, 1])), 1] > 0 else -1)
    return np.array([my + corner[0], mx + corner[1]]), axis, area


def fault(found: list[Component]) -> Status:
    """Whether the components are one layer that crosses the image; measured is the first of them."""
    if not found:
        return Status.EMPTY
    first, *others = found
    if rivals(found):
        return Status.TWO_LAYERS
    pieces = first.mask.copy()
    for other in others:
        if other.mask.sum() > _PIECE * first.mask.sum():
            pieces |= other.mask  # a layer broken by a crack goes on
    sides = _sides(pieces)
    if sides >= 2:
        return Status.OK
    return Status.ONE_SIDE if sides else Status.NO_SIDE


def rivals(found: list[Component]) -> list[Component]:
    """Those of the components, largest first, that lie beside the first and are layers of their own."""
    first, *others = found
    return [
        other
        for other in others
        if _beside(first, other) > _SIDE_BY_SIDE * first.length and other.thickness > _RIVAL_THICKNESS * first.thickness
    ]


def _beside(first: Component, other: Component) -> float:
    """How far [px] another component overlaps the first along its axis."""
    along = (rim(other.mask) - first.centre) @ first.axis
    overlap = min(float(along.max()), first.span[1]) - max(float(along.min()), first.span[0])
    return max(0.0, overlap)


def _sides(mask: np.ndarray) -> int:
    """How many of the image's four sides a mask reaches."""
    high, wide = (max(1, round(_BORDER_SHARE * n)) for n in mask.shape)
    return sum(bool(part.any()) for part in (mask[:high], mask[-high:], mask[:, :wide], mask[:, -wide:]))
