"""A scene: surfaces of materials with axes in nm, ready for a PNG, an HTML page or an interactive window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.scan import as_tensor
from microtomo.viz.colours import rgb, stack_colours
from microtomo.viz.mesh import FLAT_SHADE, Faces, box_faces, column_faces, hillshade, voxel_faces

THINNEST_NM = 0.5
"""Layers thinner than this are not drawn: noise of a solver would cover the whole substrate with a film."""

SLAB = 0.05
"""Depth of the substrate as it is drawn, of the shorter side of the image."""

_SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class MaterialSurface:
    """MaterialSurface of one material in true nm; ``colour`` is ``#RRGGBB``."""

    name: str
    colour: str
    faces: Faces
    opacity: float = 1.0

    def rgb(self) -> np.ndarray:
        """Colour of each face (q, 3) uint8: the material's under the scene's light; flat tops have it exactly."""
        light = self.faces.shades.astype(np.float32)[:, None] / FLAT_SHADE
        colour = np.array(rgb(self.colour), dtype=np.float32)
        lighter = np.clip(light - 1, 0, None)
        return np.asarray(np.clip(colour * np.minimum(light, 1) + (255 - colour) * lighter, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class Scene:
    """Surfaces from the substrate up; ``size_nm`` is the extent in x, y and z [nm], true, before the exaggeration
    ``z_scale`` that a picture applies to z. ``notes`` are lines a picture must show."""

    surfaces: tuple[MaterialSurface, ...]
    size_nm: tuple[float, float, float]
    z_scale: float
    title: str = ""
    notes: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float, float, float]:
        """x, y and z limits of what is drawn, z exaggerated and with the substrate slab."""
        x, y, z = self.size_nm
        low = min((float(s.faces.corners[..., 2].min()) for s in self.surfaces if len(s.faces.corners)), default=0.0)
        return 0.0, x, 0.0, y, low * self.z_scale, z * self.z_scale

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Name and colour of each material, top layer first."""
        return [(s.name, s.colour) for s in reversed(self.surfaces)]

    @property
    def caption(self) -> str:
        """The z exaggeration and the notes, one line each."""
        scale = f"z × {self.z_scale:g}, axes in true nm" if self.z_scale != 1 else "z to scale"
        return "\n".join([scale, *self.notes])


def nice_ticks(length: float, most: int = 6) -> list[float]:
    """Round numbers 0, s, 2 s, ... up to ``length``, at most ``most`` + 1 of them."""
    if not length > 0:
        return [0.0]
    raw = length / most
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    return [i * step for i in range(int(length / step + 1e-6) + 1)]


def thickness_scene(
    thickness: Any,
    stack: Stack,
    *,
    pixel_nm: float = 10.0,
    z_scale: float | None = None,
    title: str = "",
    thinnest_nm: float = THINNEST_NM,
    most_faces: int | None = None,
) -> Scene:
    """Scene of thickness maps (l, y, x) [nm]: every layer true to its thickness, however thin against a voxel.

    ``z_scale`` is chosen from the shape when not given. Where there are more than ``most_faces`` rectangles, only every
    2nd (3rd, ...) pixel is drawn and the caption says so, as it does of pixels without a finite thickness.
    Raises MicrotomoError for maps that do not fit the stack.
    """
    maps = as_tensor(thickness).detach().cpu().numpy().astype(np.float32)
    if maps.ndim != 3 or len(maps) != len(stack.layers) or 0 in maps.shape:
        raise MicrotomoError(
            f"thickness has shape {maps.shape}; a scene of stack {stack.name} wants ({len(stack.layers)}, y, x)"
        )
    solved = np.isfinite(maps).all(0)
    if not solved.any():
        raise MicrotomoError("thickness has no finite value: nothing can be drawn")
    maps = np.where(solved, maps, 0)
    present = maps >= thinnest_nm
    # heights in steps far below a pixel of the picture, so that equal neighbours merge
    step = max(float(np.where(present, maps, 0).sum(0).max()) / 4096, 1e-3)
    tops = np.round(np.cumsum(np.where(present, maps, 0), axis=0, dtype=np.float64) / step) * step
    tops = tops.astype(np.float32)
    bottoms = np.concatenate([np.zeros_like(tops[:1]), tops[:-1]])
    size = (maps.shape[2] * pixel_nm, maps.shape[1] * pixel_nm, float(tops.max()))
    scale = _z_scale(z_scale, size)

    def faces(every: int) -> list[Faces]:
        cut = (slice(None, None, every),) * 2
        return [
            column_faces(b[cut], t[cut], p[cut], pixel_nm * every, scale)
            for b, t, p in zip(bottoms, tops, present, strict=True)
        ]

    parts, notes = _within(faces, most_faces)
    if not solved.all():
        notes.append(f"{1 - solved.mean():.2g} of the pixels have no solution and are left bare")
    if float(((maps > 0) & ~present).mean()) > 0.01:
        notes.append(f"layers under {thinnest_nm:g} nm are not drawn")
    return _assemble(parts, stack, size, scale, title, notes)


def volume_scene(
    volume: Any,
    stack: Stack,
    *,
    voxel_nm: float = 10.0,
    pixel_nm: float = 10.0,
    z_scale: float | None = None,
    title: str = "",
    most_faces: int | None = None,
) -> Scene:
    """Scene of a labelled volume (z, y, x): 0 empty, k = layer k, z from the bottom; voxels of voxel_nm x pixel_nm².

    Raises MicrotomoError for labels that do not fit the stack. See :func:`thickness_scene` for the rest.
    """
    labels = np.asarray(volume.detach().cpu() if hasattr(volume, "detach") else volume)
    if labels.ndim != 3 or 0 in labels.shape or labels.dtype.kind not in "iu":
        raise MicrotomoError(f"a labelled volume is (z, y, x) integers; got {labels.dtype} of shape {labels.shape}")
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most > len(stack.layers):
        raise MicrotomoError(f"volume has labels {least}..{most}; stack {stack.name} has layers 1..{len(stack.layers)}")
    filled = labels > 0
    heights = np.where(filled.any(0), len(labels) - filled[::-1].argmax(0), 0) * voxel_nm
    size = (labels.shape[2] * pixel_nm, labels.shape[1] * pixel_nm, float(heights.max()))
    scale = _z_scale(z_scale, size)

    def faces(every: int) -> list[Faces]:
        cut = (slice(None, None, every),) * 2
        shades = hillshade(heights[cut], pixel_nm * every, scale)
        thin = labels[(slice(None), *cut)]
        return [voxel_faces(thin == k + 1, shades, voxel_nm, pixel_nm * every) for k in range(len(stack.layers))]

    parts, notes = _within(faces, most_faces)
    return _assemble(parts, stack, size, scale, title, notes)


def _within(faces: Any, most: int | None) -> tuple[list[Faces], list[str]]:
    every = 1
    parts = faces(every)
    while most is not None and (count := sum(len(p.corners) for p in parts)) > most and every < 16:
        # the number falls at most with the square of the step, so this never leaves out more than it must
        every = max(every + 1, int(every * (count / most) ** 0.5))
        parts = faces(every)
    ordinal = {2: "2nd", 3: "3rd"}.get(every, f"{every}th")
    return parts, [] if every == 1 else [f"every {ordinal} pixel is drawn"]


def _z_scale(asked: float | None, size_nm: Sequence[float]) -> float:
    """The exaggeration asked for, or the round one that makes the stack about 0.4 of the shorter side high."""
    if asked is not None:
        if not 0.01 <= asked <= 1e4:
            raise MicrotomoError(f"z exaggeration {asked:g} is impossible: give 0.01 to 10000")
        return float(asked)
    wanted = 0.4 * min(size_nm[:2]) / max(size_nm[2], 1e-9)
    return float(min(_SCALES, key=lambda s: abs(log10(s) - log10(max(wanted, 1.0))))) if size_nm[2] > 0 else 1.0


def _assemble(
    parts: list[Faces], stack: Stack, size: tuple[float, float, float], scale: float, title: str, notes: list[str]
) -> Scene:
    ground, colours = stack_colours(stack)
    slab = -SLAB * min(size[:2]) / scale
    surfaces = [MaterialSurface(f"{stack.substrate.symbol} substrate", ground, box_faces(size[0], size[1], slab, 0.0))]
    surfaces += [MaterialSurface(s, c, p) for s, c, p in zip(stack.symbols, colours, parts, strict=True)]
    return Scene(tuple(surfaces), size, scale, title, tuple(notes))
