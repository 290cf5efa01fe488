"""Picture of a measured micrograph: the image, its classes shaded, and the marks of the measurement over it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from microtomo.registry import LabelClass
from microtomo.tem.measurement import Lines, Mark, Measured, Outlines, Points, Scale
from microtomo.viz.colours import rgb
from microtomo.viz.figures import new_figure, styled
from microtomo.viz.micrographs import OPACITY, grey

Extent = tuple[float, float, float, float]

_ENOUGH_PX = 1000  # a side: more the figure cannot show
_MOST_LETTERS = 72  # of the title that fit above a picture


@styled
def measurement_figure(image: np.ndarray, measured: Measured, classes: Sequence[LabelClass], title: str = "") -> Figure:
    """The image (y, x) with the measured labels in the colours of their classes, and all marks, as a figure.

    Axes are in nm where the pixel size is known, else in px; the caption stands below the title.
    """
    unit = measured.pixel_nm or 1.0
    lines = [title, *measured.caption.split("\n")]
    words = "\n".join(part for line in lines for part in wrap(line, _MOST_LETTERS))
    figure = new_figure(7.6, 6.4 * image.shape[0] / image.shape[1] + 0.4, words)
    axes = figure.subplots()
    extent = (-0.5 * unit, (image.shape[1] - 0.5) * unit, (image.shape[0] - 0.5) * unit, -0.5 * unit)
    labels = None if measured.segmentation is None else measured.segmentation.labels
    axes.imshow(_shaded(grey(image), labels, classes), extent=extent)
    for mark in measured.marks:
        _draw(figure, axes, mark, unit)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right")
    name = "px" if measured.pixel_nm is None else "nm"
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel=f"x [{name}]", ylabel=f"y [{name}]")
    return figure


def _shaded(shades: np.ndarray, labels: np.ndarray | None, classes: Sequence[LabelClass]) -> np.ndarray:
    """The image (y, x) uint8 in colours (y, x, 3), its classes shaded, with no more pixels than the figure can show."""
    colour = np.repeat(shades[..., None], 3, axis=2)
    for number, label in enumerate(classes if labels is not None else ()):
        if label.colour is not None:
            inside = labels == number
            mixed = OPACITY * np.array(rgb(label.colour)) + (1 - OPACITY) * colour[inside]
            colour[inside] = mixed.round().astype(np.uint8)
    less = min(shades.shape) // _ENOUGH_PX
    return np.asarray(Image.fromarray(colour).reduce(less)) if less > 1 else colour


def _draw(figure: Figure, axes: Axes, mark: Mark, unit: float) -> None:
    if isinstance(mark, Points):
        x, y = mark.places[:, ::-1].T * unit
        axes.plot(x, y, "o" if mark.label else ".", color=mark.colour, markersize=mark.size, label=mark.label or None)
    elif isinstance(mark, Lines):
        _draw_lines(figure, axes, mark, unit)
    elif isinstance(mark, Outlines):
        closed = [np.concatenate([corners, corners[:1]])[:, ::-1] * unit for corners in mark.outlines]
        axes.add_collection(LineCollection(closed, colors=mark.colour, linewidths=mark.width, label=mark.label or None))
    else:
        for (y, x), text in zip(mark.places * unit, mark.texts, strict=True):
            axes.text(x, y, text, color=mark.colour, fontsize=mark.size, ha="center", va="center")


def _draw_lines(figure: Figure, axes: Axes, mark: Lines, unit: float) -> None:
    ends = list(mark.ends[..., ::-1] * unit)
    lines = LineCollection(ends, linewidths=mark.width, label=mark.label or None)
    axes.add_collection(lines)
    if not isinstance(mark.colour, Scale):
        lines.set_color(mark.colour)
        return
    scale = mark.colour
    lines.set_cmap(scale.colours)
    lines.set_array(scale.values)
    lines.set_clim(*scale.limits)
    figure.colorbar(lines, ax=axes, label=scale.label, shrink=0.8, ticks=scale.ticks or None)
