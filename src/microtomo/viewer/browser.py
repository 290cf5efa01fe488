"""The viewer in a browser: a trame application that sends geometry once and numbers on demand.

The browser draws: turning, cutting and switching cost the server nothing, which may well be a computer without GPU,
or without any OpenGL.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from math import floor, log10
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.study import Study
from microtomo.viewer.panels import Panel, make_panels, materials, panel_names, panel_titles, size_nm
from microtomo.viz import web
from microtomo.viz.export import surface_files, vti_bytes, zipped
from microtomo.viz.maps import ColourScale, map_names, map_scale, one_map, png
from microtomo.viz.readout import Readout, describe, readings, readout
from microtomo.viz.spectrum import spectrum_figure
from microtomo.viz.web import MOST_FACES, scene_data, scene_page

COARSE_FACES = 40_000
"""Rectangles of a scene while it is turned, where the full one is slow (no GPU)."""

_ASSETS = Path(__file__).parent / "assets"
_MIME = {"html": "text/html", "vti": "application/xml", "zip": "application/zip"}


class Page:
    """The viewer of one study on a trame server. What a client sends are numbers and names out of menus, no paths."""

    def __init__(self, server: Any, study: Study) -> None:
        self.study = study
        self.server = server
        self.state = server.state
        self.panels: dict[str, Panel] = make_panels(study, most_faces=MOST_FACES)
        self._scales: dict[str, ColourScale] = {}
        server.enable_module(_module())
        self._fill()
        for name in ("scene", "export", "pick_place", "pick_map", "step"):
            server.trigger(name)(getattr(self, name))
        self.state.change("map_name", "energy")(self.draw_map)
        self._layout()
        self.draw_map()
        self.read(*(n // 2 for n in study.shape))

    def _fill(self) -> None:
        study, names = self.study, panel_names(self.study)
        first = next((p.scene for p in self.panels.values()), None)
        height, width = study.shape
        z_log = 0.0 if first is None else max(0.0, log10(first.z_scale))
        shown = materials(study)
        surfaces = [material for material, _ in shown]
        values = {
            "title": f"{study.name}{f', {study.rec.method}' if study.rec is not None else ''}",
            "trame__title": f"{study.name} - microtomo",
            "notes": [*study.notes, *([] if study.rec is None else [v.line for v in study.rec.verdicts if v.line])],
            "panels": names,
            "panels_shown": names,
            "titles": panel_titles(study),
            "scales": {n: p.scale.legend() for n, p in self.panels.items() if p.scale is not None},
            "materials": surfaces,
            "colours": [colour for _, colour in shown],
            "opacities": [1.0] * len(shown),
            "visible": surfaces,
            "size_nm": size_nm(study, self.panels),
            "z_log": z_log, "z_log_start": z_log, "z_log_max": max(1.5, z_log + 0.7),
            "cut_x": 1, "cut_y": 1, "cut_z": 1,
            "mark": None, "commands": None, "trouble": "",
            "maps": map_names(study), "map_name": map_names(study)[0],
            "energies": [float(e) for e in study.scan.energies_kev] if study.scan is not None else [0.0],
            "energy": 0,
            "map_image": "", "map_scale": {"low": "", "high": "", "gradient": ""},
            "map_width": f"min(100%, {width / height:.4g} * {38 if first is not None else 72}vh)",
            "shape": [height, width], "pixel": [0, 0],
            "readings": [], "summary": "", "spectrum": "",
            "kinds": ["html", "vti", "stl", "ply"],
        }  # fmt: skip
        self.state.update(values)

    def _layout(self) -> None:
        from trame.ui.html import DivLayout

        page = (_ASSETS / "viewer.html").read_text(encoding="utf-8")
        with DivLayout(self.server, style="min-height: 100%") as layout:
            layout.root.add_child(page)

    def _coarse(self, name: str) -> list[dict[str, Any]] | None:
        """Surfaces to draw while the user turns the scene, None where it is small."""
        panel = self.panels[name]
        if sum(len(s.faces.corners) for s in panel.scene.surfaces) <= 2 * COARSE_FACES:
            return None
        quick = make_panels(self.study, most_faces=COARSE_FACES, z_scale=panel.scene.z_scale, names=[name])[name]
        surfaces: list[dict[str, Any]] = scene_data(replace(quick.scene, size_nm=panel.scene.size_nm))["surfaces"]
        return surfaces

    def scene(self, name: str) -> dict[str, Any]:
        """What ``scene.js`` draws in a panel."""
        panel = self.panels[name]
        data = scene_data(panel.scene) | {"coarse": self._coarse(name)}
        for surface in [*data["surfaces"], *(data["coarse"] or [])]:
            if panel.textures is not None and surface["name"] in panel.textures:
                pixels = panel.textures[surface["name"]]
                surface["map"] = {"width": pixels.shape[1], "height": pixels.shape[0], "rgba": pixels.tobytes()}
        return data

    def draw_map(self, **_: Any) -> None:
        """Show the chosen map, at the chosen energy."""
        name = str(self.state.map_name)
        if name not in self._scales:
            self._scales[name] = map_scale(self.study, name)
        scale = self._scales[name]
        pixels = scale.paint(one_map(self.study, name, int(self.state.energy)))
        self.state.map_image = _data_url("image/png", png(pixels))
        self.state.map_scale = scale.legend()
        self._tell()

    def pick_place(self, x_nm: float, y_nm: float) -> None:
        """Read the pixel under a place of the scene [nm], y up."""
        size = self.study.pixel_nm
        self.read(self.study.shape[0] - 1 - floor(y_nm / size), floor(x_nm / size))

    def pick_map(self, right: float, down: float) -> None:
        """Read the pixel at shares of the map from its upper left."""
        height, width = self.study.shape
        self.read(floor(down * height), floor(right * width))

    def step(self, down: int, right: int) -> None:
        """Read a neighbour of the pixel."""
        y, x = self.state.pixel
        self.read(y + down, x + right)

    def read(self, y: int, x: int) -> None:
        """Show the numbers and the spectrum of a pixel; one beyond the edge is the one at the edge."""
        height, width = self.study.shape
        y, x = min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)
        self._read = pixel = readout(self.study, y, x)
        size = self.study.pixel_nm
        self.state.pixel = [y, x]
        self.state.mark = [(x + 0.5) * size, (height - y - 0.5) * size]
        self.state.readings = readings(pixel)
        self._tell()
        if self.study.scan is not None:
            recs = {} if self.study.rec is None else {self.study.rec.method: self.study.rec}
            file = BytesIO()
            spectrum_figure(self.study.scan, recs, (y, x), small=True).savefig(file, format="svg")
            self.state.spectrum = _data_url("image/svg+xml", file.getvalue())

    def _tell(self) -> None:
        pixel: Readout | None = getattr(self, "_read", None)
        if pixel is not None:
            self.state.summary = describe(pixel, int(self.state.energy))

    def export(self, kind: str) -> dict[str, Any] | None:
        """Content of a file that the browser saves; None, and a sentence on the page, where there is none."""
        truth = self.study.rec is None
        stem = Path(self.study.name).stem
        try:
            if kind == "html":
                panel = self.panels["truth" if truth else "reconstruction"]
                name, data = f"{stem}.html", scene_page(panel.scene).encode()
            elif kind == "vti":
                name, data = f"{stem}.vti", vti_bytes(self.study, truth=truth)
            elif kind in ("stl", "ply"):
                parts = surface_files(self.study, kind, truth=truth)
                name, data = f"{stem}-{kind}.zip", zipped({f"{stem}-{m}.{kind}": d for m, d in parts.items()})
            else:
                raise MicrotomoError(f"unknown kind of file {kind!r}")
        except MicrotomoError as error:
            self.state.trouble = str(error)
            return None
        self.state.trouble = ""
        return {"name": name, "mime": _MIME[name.rpartition(".")[2]], "data": data}


def _module() -> dict[str, Any]:
    """What trame serves: the package's two folders ``assets``, and nothing else of the disk."""
    scene, viewer = "__microtomo_scene", "__microtomo_viewer"
    return {
        "serve": {scene: str(Path(web.__file__).parent / "assets"), viewer: str(_ASSETS)},
        "scripts": [f"{scene}/axes.js", f"{scene}/scene.js", f"{viewer}/viewer.js"],
        "styles": [f"{viewer}/viewer.css"],
        "vue_use": ["microtomoViewer"],
    }


def _data_url(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
