"""Scenes drawn with PyVista: to a PNG without a display, or into a plotter of the caller's."""

from __future__ import annotations

from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, printable
from microtomo.io.atomic import whole_file, writing
from microtomo.viz.axes import axes, label_actors, set_font
from microtomo.viz.colours import INK, rgb
from microtomo.viz.gl import prepare_offscreen
from microtomo.viz.scene import MaterialSurface, Scene

AZIMUTH, ELEVATION = 28.0, 34.0
"""Where the camera stands [degrees]: to the right of the front, above the horizon."""


def polydata(surface: MaterialSurface, z_scale: float = 1.0) -> Any:
    """The surface as ``pyvista.PolyData`` with cell colours ``rgb``; points in nm, z times ``z_scale``."""
    import pyvista as pv

    corners = surface.faces.corners * np.array([1, 1, z_scale], dtype=np.float32)
    count = len(corners)
    cells = np.empty((count, 5), dtype=np.int64)
    cells[:, 0] = 4
    cells[:, 1:] = np.arange(4 * count).reshape(count, 4)
    mesh = pv.PolyData(corners.reshape(-1, 3), cells.ravel())
    mesh.cell_data["rgb"] = surface.rgb()
    return mesh


def add_scene(plotter: Any, scene: Scene, *, text_px: int = 18, with_axes: bool = True) -> dict[str, Any]:
    """Draw surfaces and axes of a scene into a ``pyvista.Plotter``; returns the actor of each material by name."""
    import pyvista as pv

    actors = {}
    for surface in scene.surfaces:
        if len(surface.faces.corners):
            actors[surface.name] = plotter.add_mesh(
                polydata(surface, scene.z_scale), scalars="rgb", rgb=True, lighting=False, culling="back",
                opacity=surface.opacity, name=surface.name, show_scalar_bar=False,
            )  # fmt: skip
    if not with_axes:
        return actors
    lines, labels = axes(scene)
    segments = np.array(lines, dtype=np.float32).reshape(-1, 3)
    plotter.add_mesh(pv.line_segments_from_points(segments), color=INK, line_width=max(1.5, text_px / 10), name="axes")
    for actor in label_actors(labels, text_px):
        plotter.add_actor(actor, reset_camera=False, pickable=False)
    return actors


def set_camera(
    plotter: Any,
    scene: Scene,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    size: tuple[int, int] | None = None,
) -> None:
    """Look at the scene from above the front, in parallel projection, filling the window but for the labels."""
    x0, x1, y0, y1, z0, z1 = scene.bounds
    a, e = radians(azimuth), radians(elevation)
    towards = np.array([sin(a) * cos(e), -cos(a) * cos(e), sin(e)])
    right = np.array([cos(a), sin(a), 0.0])
    up = np.cross(towards, right)
    corners = np.array([(x, y, z) for x in (x0, x1) for y in (y0, y1) for z in (z0, z1)])
    across, along = corners @ right, corners @ up
    width, height = size or plotter.window_size
    margin_x, margin_top, margin_bottom = 0.11, 0.1, 0.13
    half_height = 0.5 * np.ptp(along) / (1 - margin_top - margin_bottom)
    half_width = 0.5 * np.ptp(across) / (1 - 2 * margin_x)
    scale = max(half_height, half_width * height / width, 1e-6)
    middle = 0.5 * (along.max() + along.min()) + (margin_top - margin_bottom) * scale
    centre = 0.5 * (across.max() + across.min()) * right + middle * up
    centre = centre + (corners @ towards).mean() * towards
    camera = plotter.camera
    camera.parallel_projection = True
    camera.focal_point = tuple(centre)
    camera.position = tuple(centre + 10 * scale * towards)
    camera.up = (0, 0, 1)
    camera.parallel_scale = float(scale)
    plotter.renderer.ResetCameraClippingRange()


def render_array(scene: Scene, size: tuple[int, int] = (1200, 900), *, words: bool = True) -> np.ndarray:
    """The scene as an image (height, width, 3) uint8, drawn without a display; without ``words``, surfaces alone.

    Raises MicrotomoError where there are no OpenGL libraries, or for an impossible size.
    """
    if not (64 <= size[0] <= 8192 and 64 <= size[1] <= 8192):
        raise MicrotomoError(f"picture size {size[0]} x {size[1]} is impossible: give 64 to 8192 pixels a side")
    prepare_offscreen()
    import pyvista as pv

    text = max(10, round(min(size[1], 0.8 * size[0]) / 48))
    plotter = pv.Plotter(off_screen=True, window_size=list(size))
    try:
        plotter.set_background("white")
        plotter.enable_anti_aliasing("ssaa")
        add_scene(plotter, scene, text_px=text, with_axes=words)
        set_camera(plotter, scene)
        if words:
            _overlay(plotter, scene, size, text)
        return np.ascontiguousarray(plotter.screenshot(None, return_img=True)[..., :3])
    finally:
        plotter.close()


def _overlay(plotter: Any, scene: Scene, size: tuple[int, int], text: int) -> None:
    """Title, legend and caption in the corners, which the camera leaves free."""
    from vtkmodules.vtkRenderingCore import vtkTextActor

    def write(words: str, x: float, y: float, px: int, *, bold: bool = False, top: bool = True) -> None:
        actor = vtkTextActor()
        actor.SetInput(words)
        style = actor.GetTextProperty()
        set_font(style, px, bold=bold)
        (style.SetVerticalJustificationToTop if top else style.SetVerticalJustificationToBottom)()
        actor.SetPosition(x, y)
        plotter.add_actor(actor, reset_camera=False, pickable=False)

    width, height = size
    edge = 1.2 * text
    if scene.title:
        write(printable(scene.title), edge, height - edge, round(1.25 * text), bold=True)
    write(scene.caption, edge, edge, round(0.9 * text), top=False)
    longest = max(len(name) for name, _ in scene.legend)
    left = width - edge - (0.62 * longest + 2.0) * text
    for i, (name, colour) in enumerate(scene.legend):
        y = height - edge - 1.7 * text * i
        plotter.add_actor(_swatch(left, y - 1.05 * text, 1.1 * text, colour), reset_camera=False, pickable=False)
        write(name, left + 1.8 * text, y, text)


def _swatch(x: float, y: float, side: float, colour: str) -> Any:
    """A square of the window, in pixels from its lower left."""
    import pyvista as pv
    from vtkmodules.vtkRenderingCore import vtkActor2D, vtkPolyDataMapper2D

    square = pv.PolyData(
        np.array([(x, y, 0), (x + side, y, 0), (x + side, y + side, 0), (x, y + side, 0)], dtype=np.float32),
        np.array([4, 0, 1, 2, 3]),
    )
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(square)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*(c / 255 for c in rgb(colour)))
    return actor


def render_png(scene: Scene, path: str | Path, size: tuple[int, int] = (1200, 900), *, words: bool = True) -> Path:
    """Write the scene to a PNG without a display; see :func:`render_array` for ``words`` and for what it raises."""
    from matplotlib.image import imsave

    image = render_array(scene, size, words=words)
    with whole_file(path) as temporary, writing(path):
        imsave(temporary, image, format="png")
    return Path(path)
