"""The 3D panels of a study: truth, reconstruction, and uncertainty painted on the reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtomo.study import Study
from microtomo.viz.figures import array
from microtomo.viz.maps import ColourScale, sigma_scale
from microtomo.viz.scene import Scene, thickness_scene


@dataclass(frozen=True)
class Panel:
    """A scene with its title; ``textures`` (y, x, 4) uint8 by material replace its colour, told by ``scale``."""

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


def make_panels(
    study: Study, *, most_faces: int | None, z_scale: float | None = None, names: list[str] | None = None
) -> dict[str, Panel]:
    """The panels, all or the named, with one z exaggeration; see :func:`microtomo.viz.scene.thickness_scene` for
    ``most_faces``."""
    titles, scenes, made = panel_titles(study), {}, {}
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
        made[name] = Panel(name, titles[name], scenes[what], textures, scale)
    return made
