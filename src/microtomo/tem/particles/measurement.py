"""Particles of an image with their sizes: sub-pixel area, diameters, shape, position, and a deviation for each size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from microtomo.tem.particles.maps import Maps
from microtomo.tem.particles.regions import regions

LEAST_AREA_PX = 6.0
"""Area [px of the maps] below which nothing is reported: noise forms such specks, and their size is unknown."""

DEVIATION_SCALE = 0.75
"""What the network's deviations of sizes are multiplied with, so that 95 % intervals hold 94 % of the diameters of
validation images on the mean of two sets: more on clear images, fewer where programs bent the contrast."""


@dataclass(frozen=True)
class Particles:
    """Particles of one image, arrays (n,) in pixels of that image (pixel centres at whole numbers; x right, y down).

    ``x, y`` centre of area; ``x0, y0, x1, y1`` box around the outline; ``diameter_px`` of the circle of the same area
    with its standard deviation ``diameter_sd_px``: the geometric mean of what the pixels' shares add up to and of the
    size that the network names, which also holds where particles overlap; ``area_px`` of that circle; ``feret_px`` and
    ``least_feret_px`` largest and smallest caliper; ``major_px, minor_px`` axes of the ellipse of the same second
    moments; ``circularity`` 4 pi area / perimeter^2; ``score`` 0..1 how sure the particle is; ``border`` whether the
    image's edge cuts it: its size is then that of what is seen. ``label`` (n,) its number in the label image.
    """

    x: np.ndarray
    y: np.ndarray
    x0: np.ndarray
    y0: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    area_px: np.ndarray
    diameter_px: np.ndarray
    diameter_sd_px: np.ndarray
    feret_px: np.ndarray
    least_feret_px: np.ndarray
    major_px: np.ndarray
    minor_px: np.ndarray
    circularity: np.ndarray
    score: np.ndarray
    border: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def chosen(self, which: np.ndarray) -> Particles:
        """Those of a mask or of indices."""
        return Particles(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class Measurement:
    """``particles`` of one image with the ``outlines`` (k, 2) [px] of each, y first; ``labels`` (y, x) int32 of the
    image's own pixels, and ``maps`` they come from."""

    particles: Particles
    outlines: tuple[np.ndarray, ...]
    labels: np.ndarray
    maps: Maps


def measure_particles(maps: Maps) -> Measurement:
    """Find and measure the particles of an image by its maps."""
    labels = regions(maps.cover, maps.depth)
    particles = particles_of(maps, labels)
    names = np.zeros(int(labels.max()) + 1, dtype=np.int32)
    names[particles.label] = np.arange(1, len(particles) + 1)
    own = names[labels] * (shares(maps.cover, labels) > 0.5)
    numbered = Particles(
        **{f.name: getattr(particles, f.name) for f in fields(Particles) if f.name != "label"},
        label=np.arange(1, len(particles) + 1),
    )
    outlines = tuple(_outlines(maps, labels, particles.label))
    return Measurement(numbered, outlines, _at_own_size(own, maps), maps)


def _outlines(maps: Maps, labels: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """The outline (k, 2) of each numbered region, in pixels of the image."""
    inside, boxes = shares(maps.cover, labels), ndimage.find_objects(labels)
    for number in numbers:
        rows, columns = boxes[int(number) - 1]
        outline = _outline(_weight(inside, labels, (rows, columns), int(number)))
        yield (outline + np.array([rows.start, columns.start]) - 0.5) / maps.zoom - 0.5


def _weight(cover: np.ndarray, labels: np.ndarray, box: tuple[slice, slice], number: int) -> np.ndarray:
    """Coverage by one region within its box, and one pixel more on each side."""
    return np.pad(np.where(labels[box] == number, cover[box], 0), 1).astype(np.float64)


def particles_of(maps: Maps, labels: np.ndarray) -> Particles:
    """Measure labelled regions (y, x) of maps, in pixels of the image itself. Specks are left out."""
    count = int(labels.max())
    index = np.arange(1, count + 1)
    if count == 0:
        kinds = {"border": np.bool_, "label": np.int64}
        return Particles(*(np.empty(0, kinds.get(f.name, np.float64)) for f in fields(Particles)))
    inside = shares(maps.cover, labels)
    area = np.asarray(ndimage.sum(inside, labels, index))
    score = np.asarray(ndimage.maximum(maps.depth * maps.cover, labels, index))
    keep = area >= LEAST_AREA_PX
    boxes = ndimage.find_objects(labels)
    rows = [_shape(inside, labels, boxes[int(n)], int(n) + 1) for n in np.flatnonzero(keep)]
    shape = np.array(rows, dtype=np.float64).reshape(-1, 12)
    kept = index[keep]
    deviation = _at_centres(maps.deviation, maps, labels, kept)
    edge = _on_border(labels, count)[keep]
    seen = 2 * np.sqrt(area[keep] / np.pi)
    regressed = np.exp2(_at_centres(np.log2(np.maximum(maps.size, 1e-3)), maps, labels, kept))
    # of a particle that the border cuts only what is seen counts
    diameter = np.where(edge, seen, np.sqrt(seen * regressed))
    return _in_image_pixels(shape, diameter, deviation, score[keep], edge, kept, maps.zoom)


def shares(cover: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each pixel (y, x) that its particle covers, given that the particle is there: the coverage over the
    most in the particle, so that a doubtful one is not measured too small."""
    most = np.asarray(ndimage.maximum(cover, labels, np.arange(int(labels.max()) + 1)), dtype=np.float32)
    return np.where(labels > 0, cover / np.maximum(most, 1e-3)[labels], np.float32(0))


def _at_centres(values: np.ndarray, maps: Maps, labels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Means over each region of what the network says near its centre."""
    weight = maps.depth**2 * maps.cover
    total = np.asarray(ndimage.sum(weight, labels, index))
    return np.asarray(ndimage.sum(weight * values, labels, index) / np.maximum(total, 1e-9))


def _on_border(labels: np.ndarray, count: int) -> np.ndarray:
    """Whether each region reaches the image's edge, (count,)."""
    touched = np.zeros(count + 1, dtype=bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touched[line] = True
    return touched[1:]


def _shape(cover: np.ndarray, labels: np.ndarray, box: tuple[slice, slice], number: int) -> list[float]:
    """x, y, x0, y0, x1, y1, largest and smallest Feret, major, minor, perimeter and area of the outline at one half."""
    weight = _weight(cover, labels, box, number)
    top, left = box[0].start - 1, box[1].start - 1
    total = weight.sum()
    rows, columns = np.arange(weight.shape[0]), np.arange(weight.shape[1])
    y, x = (weight.sum(1) @ rows) / total, (weight.sum(0) @ columns) / total
    # a pixel's own extent counts in its second moment
    yy = weight.sum(1) @ (rows - y) ** 2 / total + 1 / 12
    xx = weight.sum(0) @ (columns - x) ** 2 / total + 1 / 12
    xy = (rows - y) @ weight @ (columns - x) / total
    spread = np.hypot(yy - xx, 2 * xy)
    major, minor = 4 * np.sqrt((yy + xx + spread) / 2), 4 * np.sqrt(max((yy + xx - spread) / 2, 1 / 12))
    outline = _outline(weight)
    low, high = outline.min(0), outline.max(0)
    caliper = _calipers(outline)
    step = np.diff(outline, axis=0)
    perimeter = float(np.hypot(step[:, 0], step[:, 1]).sum())
    enclosed = 0.5 * abs(float(np.sum(outline[:-1, 0] * outline[1:, 1] - outline[1:, 0] * outline[:-1, 1])))
    return [
        *(x + left, y + top, low[1] + left, low[0] + top, high[1] + left, high[0] + top),
        *(caliper.max(), caliper.min(), major, minor, perimeter, enclosed),
    ]


def _outline(weight: np.ndarray) -> np.ndarray:
    """The longest contour (k, 2) at half the coverage, or at half of the most there is; y first."""
    from skimage.measure import find_contours

    lines = find_contours(weight, min(0.5, 0.5 * float(weight.max())))
    longest: np.ndarray = max(lines, key=len)
    return longest


def _calipers(outline: np.ndarray) -> np.ndarray:
    """Widths (36,) [px] of an outline (k, 2) between parallel lines, every five degrees."""
    angle = np.pi * np.arange(36) / 36
    along = outline @ np.stack([np.sin(angle), np.cos(angle)])
    return np.asarray(along.max(0) - along.min(0))


def _in_image_pixels(
    shape: np.ndarray,
    diameter: np.ndarray,
    deviation: np.ndarray,
    score: np.ndarray,
    border: np.ndarray,
    label: np.ndarray,
    zoom: float,
) -> Particles:
    place = (shape[:, :6] + 0.5) / zoom - 0.5
    length = shape[:, 6:10] / zoom
    diameter = diameter / zoom
    x, y, x0, y0, x1, y1 = place.T
    return Particles(
        x=x,
        y=y,
        x0=x0,
        y0=y0,
        x1=x1,
        y1=y1,
        area_px=np.pi / 4 * diameter**2,
        diameter_px=diameter,
        diameter_sd_px=DEVIATION_SCALE * diameter * np.log(2) * deviation,
        feret_px=length[:, 0],
        least_feret_px=length[:, 1],
        major_px=length[:, 2],
        minor_px=length[:, 3],
        circularity=np.minimum(1, 4 * np.pi * shape[:, 11] / np.maximum(shape[:, 10], 1e-9) ** 2),
        score=score,
        border=border,
        label=label,
    )


def _at_own_size(labels: np.ndarray, maps: Maps) -> np.ndarray:
    """A label image of the maps at the image's own size: each pixel takes the label at its centre."""
    if labels.shape == maps.shape:
        return labels
    rows, columns = (
        np.clip(((np.arange(n) + 0.5) * maps.zoom).astype(int), 0, m - 1)
        for n, m in zip(maps.shape, labels.shape, strict=True)
    )
    return np.asarray(labels[rows[:, None], columns])
