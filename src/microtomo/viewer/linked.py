"""The panels of the viewer in a PyVista plotter, linked: what may be changed, without the widgets that change it."""

from __future__ import annotations

from dataclasses import replace
from math import floor
from typing import Any

import numpy as np

from microtomo.materials import Stack
from microtomo.study import Study
from microtomo.viewer.panels import Panel, materials, panel_names
from microtomo.viz.axes import Label, axes, label_actors, set_font
from microtomo.viz.colours import DARK_GREY, INK, stack_colours
from microtomo.viz.figures import array
from microtomo.viz.maps import map_scale, one_map
from microtomo.viz.mesh import box_faces
from microtomo.viz.render import AZIMUTH, ELEVATION, polydata, set_camera
from microtomo.viz.scene import SLAB, THINNEST_NM, MaterialSurface, Scene
from microtomo.viz.sections import Cut, section_faces

_SIDES = ("below", "right", "left")


class LinkedPanels:
    """Panels of a study side by side in ``plotter``, which has a renderer for each, and the scan in the last one.

    Cuts and switches act on all panels at once. Lengths in nm, shares in 0..1.
    """

    def __init__(self, plotter: Any, study: Study, panels: dict[str, Panel], text_px: int = 12) -> None:
        self.plotter, self.study, self.panels, self._px = plotter, study, panels, text_px
        self.z_scale = next((p.scene.z_scale for p in panels.values()), 1.0)
        self.cut = Cut()
        self.hidden: set[str] = set()
        self.opacity = 1.0
        self._substrate = materials(study)[-1][0]
        self._solids: dict[tuple[str, str], Any] = {}
        self._sections: list[Any] = []
        self._planes: list[Any] = []
        self._image: Any = None
        self._upright: dict[int, list[Any]] = {}
        for column, panel in enumerate(panels.values()):
            plotter.subplot(0, column)
            self._title(panel.title + (f" [nm], 0 to {panel.scale.high:.3g}" if panel.scale else ""))
            for surface in panel.scene.surfaces:
                if len(surface.faces.corners):
                    self._solids[panel.name, surface.name] = self._add(panel, surface)
        if study.scan is not None:
            plotter.subplot(0, len(panels))
            self._add_scan()
        self._add_axes()
        for column in self._upright:
            plotter.subplot(0, column)
            plotter.renderer.AddObserver("StartEvent", lambda renderer, _, column=column: self._face(renderer, column))
        plotter.subplot(0, 0)
        self.look(*((AZIMUTH, ELEVATION) if panels else (0.0, 90.0)))
        plotter.link_views(list(range(columns(study))))

    def look(self, azimuth: float = AZIMUTH, elevation: float = ELEVATION) -> None:
        """Turn all panels [degrees]."""
        self.plotter.subplot(0, 0)
        set_camera(self.plotter, self._scene(), azimuth, elevation, self.shape())
        # room for the labels of a narrow panel; from above, those of y stand beside the field
        self.plotter.camera.parallel_scale *= 1.25 if elevation < 80 else 1.5

    def _face(self, renderer: Any, column: int) -> None:
        """Hide the labels of z where z points at the one who looks: they would all stand in one place."""
        seen = abs(renderer.GetActiveCamera().GetDirectionOfProjection()[2]) < 0.99
        for actor in self._upright[column]:
            actor.SetVisibility(seen)

    def shape(self) -> tuple[int, int]:
        """Width and height of a panel in pixels."""
        width, height = self.plotter.renderer.GetSize()
        return max(width, 1), max(height, 1)

    def show(self, material: str, shown: bool) -> None:
        """Switch a material on or off."""
        (self.hidden.discard if shown else self.hidden.add)(material)
        self._apply()

    def set_opacity(self, share: float) -> None:
        """Opacity of the layers; the substrate stays solid."""
        self.opacity = float(share)
        for (_, name), actor in self._solids.items():
            if name in self.study.stack.symbols:
                actor.prop.opacity = self.opacity
        self._apply()

    def set_z_scale(self, scale: float) -> None:
        """Exaggerate heights."""
        self.z_scale = float(scale)
        for actor in self._solids.values():
            actor.SetScale(1, 1, self.z_scale)
        self._add_axes()
        self._apply()

    def set_cut(self, **shares: float) -> None:
        """Keep shares ``x``, ``y``, ``z`` of the scene; see :class:`microtomo.viz.sections.Cut`."""
        self.cut = replace(self.cut, **shares)
        self._apply()

    def set_energy(self, number: int) -> None:
        """Show another image of the scan."""
        if self._image is not None:
            self._image.texture = self._texture(self._scale.paint(one_map(self.study, "signal", number)))

    def pixel_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Pixel (y, x) under a place of the window, from its lower left; None beside the scene."""
        from vtkmodules.vtkRenderingCore import vtkCellPicker

        renderer = self.plotter.iren.interactor.FindPokedRenderer(int(x), int(y))
        picker = vtkCellPicker()
        picker.SetTolerance(0)
        if not picker.Pick(x, y, 0, renderer):
            return None
        towards = -np.array(renderer.GetActiveCamera().GetDirectionOfProjection())
        place = np.array(picker.GetPickPosition()) - 0.05 * self.study.pixel_nm * towards
        height, width = self.study.shape
        row, column = height - 1 - floor(place[1] / self.study.pixel_nm), floor(place[0] / self.study.pixel_nm)
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    def _title(self, words: str) -> None:
        from vtkmodules.vtkRenderingCore import vtkTextActor

        actor = vtkTextActor()
        actor.SetInput(words)
        set_font(actor.GetTextProperty(), self._px + 2, bold=True)
        actor.GetTextProperty().SetVerticalJustificationToTop()
        actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        actor.SetPosition(0.02, 0.98)
        self.plotter.add_actor(actor, reset_camera=False, render=False, pickable=False)

    def _add(self, panel: Panel, surface: MaterialSurface) -> Any:
        mesh = polydata(surface)
        quiet: dict[str, Any] = {"lighting": False, "render": False, "reset_camera": False}
        if panel.textures is None or surface.name not in panel.textures:
            actor = self.plotter.add_mesh(mesh, scalars="rgb", rgb=True, show_scalar_bar=False, **quiet)
        else:
            mesh.cell_data.clear()
            mesh.active_texture_coordinates = mesh.points[:, :2] / np.array(panel.scene.size_nm[:2])
            actor = self.plotter.add_mesh(mesh, texture=self._texture(panel.textures[surface.name]), **quiet)
        actor.SetScale(1, 1, self.z_scale)
        return actor

    def _texture(self, pixels: np.ndarray) -> Any:
        import pyvista as pv

        texture = pv.Texture(np.ascontiguousarray(pixels[..., :3]))
        texture.interpolate = False
        return texture

    def _add_scan(self) -> None:
        import pyvista as pv

        self._scale = map_scale(self.study, "signal")
        width, height = (n * self.study.pixel_nm for n in reversed(self.study.shape))
        self._title(f"scan, {self._scale.low:.3g} to {self._scale.high:.3g} {self._scale.unit}")
        plane = pv.Plane(center=(width / 2, height / 2, 0), i_size=width, j_size=height, i_resolution=1, j_resolution=1)
        plane.active_texture_coordinates = plane.points[:, :2] / np.array([width, height])
        image = self._texture(self._scale.paint(one_map(self.study, "signal", 0)))
        self._image = self.plotter.add_mesh(plane, texture=image, lighting=False)

    def _scene(self, name: str | None = None) -> Scene:
        """The scene of a panel, or of the first or of the flat scan, as exaggerated now; for axes and camera."""
        if self.panels:
            panel = self.panels[name] if name else next(iter(self.panels.values()))
            scene, stack = panel.scene, self.study.stack
        else:
            height, width = (n * self.study.pixel_nm for n in self.study.shape)
            return Scene((), (width, height, 0.0), 1.0)
        faces = box_faces(*scene.size_nm[:2], self._floor(scene), 0.0)
        slab = MaterialSurface(stack.substrate.symbol, DARK_GREY, faces)
        return replace(scene, z_scale=self.z_scale, surfaces=(slab,))

    def _floor(self, scene: Scene) -> float:
        return -SLAB * min(scene.size_nm[:2]) / self.z_scale

    def _add_axes(self) -> None:
        import pyvista as pv

        names: list[str | None] = [*self.panels, *([None] if self.study.scan is not None else [])]
        for column, name in enumerate(names):
            self.plotter.subplot(0, column)
            scene = self._scene(name)
            if name is None:
                scene = Scene((), (*scene.size_nm[:2], 0.0), 1.0)
            lines, labels = axes(scene)
            labels = [label for label in labels if name is not None or label.side != "left"]
            labels = [*(label for label in labels if label.title), *_every_second(labels)]
            segments = np.array(lines, dtype=np.float32).reshape(-1, 3)
            self.plotter.add_mesh(
                pv.line_segments_from_points(segments), color=INK, name=f"axes {column}", pickable=False,
                reset_camera=False, render=False,
            )  # fmt: skip
            upright = []
            for i, (label, actor) in enumerate(zip(labels, label_actors(labels, self._px), strict=True)):
                upright += [actor] if label.side == "left" else []
                self.plotter.add_actor(
                    actor, name=f"label {column} {i}", reset_camera=False, render=False, pickable=False
                )
            self._upright[column] = upright
            if name is not None:
                # the slab is drawn to the picture, not to scale
                self._solids[name, self._substrate].SetScale(1, 1, self.z_scale * self._floor(scene) / self._base)

    @property
    def _base(self) -> float:
        """Depth of the slab as it was built [nm]."""
        scene = next(iter(self.panels.values())).scene
        return float(scene.surfaces[0].faces.corners[..., 2].min())

    def _apply(self) -> None:
        """Switch actors, clip them by planes, and close the cuts."""
        from vtkmodules.vtkCommonDataModel import vtkPlane

        for (_, name), actor in self._solids.items():
            actor.SetVisibility(name not in self.hidden)
        for actor in self._sections:
            self.plotter.remove_actor(actor, reset_camera=False, render=False)
        self._sections = []
        tallest = max((p.scene.size_nm[2] for p in self.panels.values()), default=0.0)
        for name, panel in self.panels.items():
            x, y, _ = panel.scene.size_nm
            planes = []
            for share, origin, normal in (
                (self.cut.x, (self.cut.x * x, 0, 0), (-1, 0, 0)),
                (self.cut.y, (0, (1 - self.cut.y) * y, 0), (0, 1, 0)),
                (self.cut.z, (0, 0, self.cut.z * tallest * self.z_scale), (0, 0, -1)),
            ):
                if share < 1:
                    plane = vtkPlane()
                    plane.SetOrigin(*origin)
                    plane.SetNormal(*normal)
                    planes.append(plane)
            for (owner, _), actor in self._solids.items():
                if owner == name:
                    actor.mapper.RemoveAllClippingPlanes()
                    for plane in planes:
                        actor.mapper.AddClippingPlane(plane)
            if planes:
                self._close(list(self.panels).index(name), panel, tallest)

    def _close(self, column: int, panel: Panel, tallest: float) -> None:
        stack: Stack = self.study.stack
        rec = self.study.rec
        maps = array(self.study.truth if panel.name == "truth" or rec is None else rec.thickness).astype(np.float32)
        maps = np.where(np.isfinite(maps).all(0) & (maps >= THINNEST_NM), maps, 0)
        tops = np.cumsum(maps, axis=0)
        flat = np.zeros_like(tops[:1])
        bottoms = np.concatenate([flat, tops[:-1]])
        ground, layers = stack_colours(stack)
        slabs = [(self._substrate, ground, flat[0] + self._floor(panel.scene), flat[0])]
        slabs += list(zip(stack.symbols, layers, bottoms, tops, strict=True))
        self.plotter.subplot(0, column)
        for name, colour, low, high in slabs:
            if name in self.hidden:
                continue
            faces = section_faces(low, high, self.study.pixel_nm, self.cut, tallest)
            if not len(faces.corners):
                continue
            actor = self._add(panel, MaterialSurface(name, colour, faces))
            actor.prop.opacity = self.opacity if name in stack.symbols else 1.0
            self._sections.append(actor)


def _every_second(labels: list[Label]) -> list[Label]:
    sides = {side: [label for label in labels if label.side == side and not label.title] for side in _SIDES}
    return [label for side in _SIDES for label in sides[side][::2]]


def columns(study: Study) -> int:
    """Number of renderers that the panels of a study need, with one for the scan."""
    return len(panel_names(study)) + (study.scan is not None)
