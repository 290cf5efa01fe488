"""The 3D panels of a study: truth, reconstruction, and uncertainty painted on the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microtomo.study import Study
from microtomo.viz.colours import stack_colours
from microtomo.viz.figures import array
from microtomo.viz.maps import ColourScale, sigma_scale
from microtomo.viz.scene import Scene, thickness_scene


@dataclass(frozen=True)
class Panel:
    """A scene with its title; ``textures`` (y, x, 4) uint8 by material replace its colour, explained by ``scale``."""

    name: str
    title: str
    scene: Scene
    textures: dict[str, np.ndarray] | None = None
    scale: ColourScale | None = None


def panel_names(study: Study) -> list[str]:
    """Which panels there are, left to right; none for a scan of which nothing is known."""
    names = ["truth"] if study.truth is not None else []
    return names + (["reconstruction", "uncertainty"] if study.rec is not None else [])


def panel_titles(study: Study) -> dict[str, str]:
    """Title of each panel."""
    titles = {"truth": "truth", "uncertainty": "standard deviation"}
    return titles | ({"reconstruction": f"reconstruction ({study.rec.method})"} if study.rec is not None else {})


def materials(study: Study) -> list[tuple[str, str]]:
    """Names of the surfaces, as in the scenes, and their colours ``#RRGGBB``: top layer first, the substrate last."""
    ground, layers = stack_colours(study.stack)
    upwards = [(f"{study.stack.substrate.symbol} substrate", ground), *zip(study.stack.symbols, layers, strict=True)]
    return upwards[::-1]


def size_nm(study: Study, panels: Mapping[str, Panel]) -> tuple[float, float, float]:
    """Extent of the panels in x, y and z [nm], the largest of each; of the flat image where there are none."""
    height, width = study.shape
    sizes = [panel.scene.size_nm for panel in panels.values()] or [(width * study.pixel_nm, height * study.pixel_nm, 0)]
    x, y, z = (max(size[i] for size in sizes) for i in range(3))
    return x, y, z


def make_panels(
    study: Study, *, most_faces: int | None, z_scale: float | None = None, names: list[str] | None = None
) -> dict[str, Panel]:
    """The panels, all or the named, with one z exaggeration; see :func:`microtomo.viz.scene.thickness_scene` for
    ``most_faces``."""
    titles, scenes, panels = panel_titles(study), {}, {}
    for name in panel_names(study) if names is None else names:
        what = "truth" if name == "truth" else "reconstruction"
        if what not in scenes:
            maps = study.truth if study.rec is None or what == "truth" else study.rec.thickness
            scenes[what] = thickness_scene(
                maps, study.stack, pixel_nm=study.pixel_nm, z_scale=z_scale, title=titles[name], most_faces=most_faces
            )
        z_scale = scenes[what].z_scale
        textures = scale = None
        if name == "uncertainty" and study.rec is not None:
            scale, sigma = sigma_scale(study), array(study.rec.uncertainty)
            textures = {s: scale.paint(sigma[k]) for k, s in enumerate(study.stack.symbols)}
        panels[name] = Panel(name, titles[name], scenes[what], textures, scale)
    return panels
