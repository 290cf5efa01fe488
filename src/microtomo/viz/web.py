"""A scene as one HTML file that needs no network, no OpenGL libraries to write and no server to open."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.io.atomic import whole_file, writing
from microtomo.viz.scene import MaterialSurface, Scene, nice_ticks

MOST_FACES = 400_000
"""Rectangles of a scene that a browser still turns smoothly; pass it to the scene builders as ``most_faces``."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
"""Content-Security-Policy of written pages: whatever is in them, they fetch nothing and send nothing."""

_PLACE = re.compile(r"\{\{(renderer|title|data|policy)\}\}")


def scene_page(scene: Scene) -> str:
    """The HTML text: turn, zoom, cut, switch materials off and on, change the z exaggeration; axes in true nm."""
    data = scene_data(scene)
    for surface in data["surfaces"]:
        surface["packed"] = base64.b64encode(surface["packed"]).decode()
    text = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script element
    parts = files("microtomo.viz").joinpath("assets")
    html, axes, renderer = (
        parts.joinpath(f).read_text(encoding="utf-8") for f in ("scene.html", "axes.js", "scene.js")
    )
    title = escape(scene.title or "microtomo scene")
    contents = {
        "renderer": axes + renderer,
        "title": title,
        "data": text,
        "policy": PAGE_POLICY,
    }
    return _PLACE.sub(lambda place: contents[place[1]], html)  # at once: a title may look like a place


def scene_data(scene: Scene) -> dict[str, Any]:
    """What ``scene.js`` draws: sizes [nm], ticks, notes, and each surface packed into bytes.

    A surface's bytes are its corners as shares of the scene's box in 16 bits, one coordinate after the other (which
    compresses well), then the shades; deflated.
    """
    floor = min(scene.bounds[4] / scene.z_scale, 0.0)
    return {
        "title": scene.title,
        "notes": list(scene.notes),
        "size_nm": list(scene.size_nm),
        "floor_nm": floor,
        "z_scale": scene.z_scale,
        "ticks": [nice_ticks(scene.size_nm[0]), nice_ticks(scene.size_nm[1]), nice_ticks(scene.size_nm[2], most=4)],
        "surfaces": [
            {"name": s.name, "colour": s.colour, "faces": len(s.faces.corners), "packed": _packed(s, scene, floor)}
            for s in scene.surfaces
        ],
    }


def _packed(surface: MaterialSurface, scene: Scene, floor: float) -> bytes:
    x, y, z = scene.size_nm
    low, span = np.array([0, 0, floor], dtype=np.float32), np.array([x, y, max(z - floor, 1e-9)], dtype=np.float32)
    shares = np.rint(np.clip((surface.faces.corners - low) / span, 0, 1) * 65535).astype("<u2")
    columns = np.ascontiguousarray(shares.reshape(-1, 12).T)
    return zlib.compress(columns.tobytes() + surface.faces.shades.tobytes(), 6)


def render_html(scene: Scene, path: str | Path) -> Path:
    """Write the scene to one HTML file. Raises MicrotomoError where the file cannot be written."""
    page = scene_page(scene)
    with whole_file(path) as temporary, writing(path):
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return Path(path)
