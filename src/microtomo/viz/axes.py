"""Axes of a scene in true nm, and the font that VTK writes them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from microtomo.viz.colours import INK, rgb
from microtomo.viz.scene import Scene, nice_ticks


@dataclass(frozen=True)
class Label:
    """Text at a place of the scene [nm, z exaggerated]; it stands to the ``left``, ``right`` or ``below``: ``side``."""

    text: str
    at: tuple[float, float, float]
    side: str
    title: bool = False


def axes(scene: Scene) -> tuple[list[tuple[tuple[float, ...], tuple[float, ...]]], list[Label]]:
    """Line segments and labels of the axes: x along the front, y along the right, z at the left; labels in true nm.

    y counts image rows, so it rises towards the viewer.
    """
    x, y, z = scene.size_nm
    k, tick = scene.z_scale, 0.02 * max(x, y)
    floor_z = scene.bounds[4]
    lines: list[tuple[tuple[float, ...], tuple[float, ...]]] = [
        ((0, 0, floor_z), (x, 0, floor_z)),
        ((x, 0, floor_z), (x, y, floor_z)),
        ((0, 0, 0), (0, 0, max(z, 0) * k)),
    ]
    labels = []
    for value in nice_ticks(x):
        lines.append(((value, 0, floor_z), (value, -tick, floor_z)))
        labels.append(Label(f"{value:g}", (value, -1.3 * tick, floor_z), "below"))
    for value in nice_ticks(y):
        lines.append(((x, y - value, floor_z), (x + tick, y - value, floor_z)))
        labels.append(Label(f"{value:g}", (x + 1.3 * tick, y - value, floor_z), "right"))
    for value in nice_ticks(z, most=4):
        lines.append(((0, 0, value * k), (-tick, 0, value * k)))
        labels.append(Label(f"{value:g}", (-1.3 * tick, 0, value * k), "left"))
    labels.append(Label("x [nm]", (0.5 * x, -6.5 * tick, floor_z), "below", True))
    labels.append(Label("y [nm]", (x + 6 * tick, 0.5 * y, floor_z), "right", True))
    labels.append(Label("z [nm]", (-tick, 0, z * k + 4 * tick), "left", True))
    return lines, labels


def label_actors(labels: list[Label], text_px: int) -> Iterator[Any]:
    """A VTK actor for each label, which keeps its size and faces the camera."""
    from vtkmodules.vtkRenderingCore import vtkBillboardTextActor3D

    for label in labels:
        actor = vtkBillboardTextActor3D()
        actor.SetInput(label.text)
        actor.SetPosition(*label.at)
        style = actor.GetTextProperty()
        set_font(style, text_px, bold=label.title)
        if label.side == "below":
            style.SetJustificationToCentered()
            style.SetVerticalJustificationToTop()
        else:
            style.SetVerticalJustificationToCentered()
            (style.SetJustificationToLeft if label.side == "right" else style.SetJustificationToRight)()
        yield actor


def set_font(style: Any, px: int, *, bold: bool = False) -> None:
    """Give a VTK text property the font of the Matplotlib figures, which knows the multiplication sign and brackets."""
    from matplotlib.font_manager import FontProperties, findfont

    style.SetFontFamily(4)  # VTK_FONT_FILE
    style.SetFontFile(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")))
    style.SetFontSize(px)
    style.SetColor(*(c / 255 for c in rgb(INK)))
