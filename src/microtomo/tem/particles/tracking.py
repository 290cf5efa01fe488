"""Particles followed over the frames of a series, and how their number and sizes change: coarsening curves."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from microtomo.errors import MicrotomoError


class Observed(Protocol):
    """Particles of one frame, such as :class:`microtomo.tem.particles.measurement.Particles`: arrays (n,) in pixels."""

    @property
    def x(self) -> np.ndarray:
        """Centres, to the right."""

    @property
    def y(self) -> np.ndarray:
        """Centres, downwards."""

    @property
    def diameter_px(self) -> np.ndarray:
        """Diameters."""

    @property
    def border(self) -> np.ndarray:
        """Whether the image's edge cuts each."""


@dataclass(frozen=True)
class Frame:
    """The least that is needed of a frame's particles, see :class:`Observed`."""

    x: np.ndarray
    y: np.ndarray
    diameter_px: np.ndarray
    border: np.ndarray


MEMORY = 3
"""Frames that a particle may be missing for and keep its track."""


@dataclass(frozen=True)
class Tracks:
    """One row an observation, arrays (n,): ``frame``, ``particle`` its place in that frame's particles, ``track`` the
    number of its track from 0, ``diameter_px``."""

    frame: np.ndarray
    particle: np.ndarray
    track: np.ndarray
    diameter_px: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Coarsening:
    """Curves over the frames (f,): ``number`` of particles, ``mean_px`` diameter with its standard error
    ``mean_error_px``, and ``volume`` sum of the cubes of the diameters [px^3]; border particles are left out of the
    sizes."""

    number: np.ndarray
    mean_px: np.ndarray
    mean_error_px: np.ndarray
    volume: np.ndarray


def link(frames: Sequence[Observed], reach_px: float | None = None, memory: int = MEMORY) -> Tracks:
    """Link the particles of successive frames (Crocker & Grier, J. Colloid Interface Sci. 179 (1996) 298).

    ``reach_px``: farthest step between frames, half the median distance of nearest neighbours if not given.
    Raises MicrotomoError where trackpy is not installed, and where there is nothing to link.
    """
    trackpy = _trackpy()
    places = [np.stack([p.y, p.x], axis=1) for p in frames]
    if sum(len(p) for p in places) == 0:
        raise MicrotomoError("there is no particle on any frame: nothing to track")
    reach = reach_px or 0.5 * _spacing(places)
    ids = [np.asarray(found, dtype=int) for _, found in trackpy.link_iter(places, reach, memory=memory)]
    names, tracks = np.unique(np.concatenate(ids), return_inverse=True)
    del names
    counts = [len(place) for place in places]
    return Tracks(
        frame=np.repeat(np.arange(len(frames)), counts),
        particle=np.concatenate([np.arange(n) for n in counts]),
        track=tracks.reshape(-1),
        diameter_px=np.concatenate([p.diameter_px for p in frames]),
    )


def coarsening(frames: Sequence[Observed]) -> Coarsening:
    """Curves of a series; where a frame has no whole particle, its mean is not a number."""
    number = np.array([len(p.x) for p in frames])
    mean, error, volume = np.full((3, len(frames)), np.nan)
    for k, particles in enumerate(frames):
        d = particles.diameter_px[~particles.border]
        volume[k] = float((d**3).sum())
        if len(d):
            mean[k] = d.mean()
            error[k] = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
    return Coarsening(number, mean, error, volume)


@dataclass(frozen=True)
class Series:
    """A followed series: ``tracks``, the curves over its frames, and the size of a pixel [nm] where it is known."""

    tracks: Tracks
    curves: Coarsening
    pixel_nm: float | None = None

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON: tracks in all, those on every frame, and those that end before the last frame."""
        frames = len(self.curves.number)
        seen = np.bincount(self.tracks.track)
        last = np.zeros(len(seen), dtype=np.int64)
        np.maximum.at(last, self.tracks.track, self.tracks.frame)
        gone = int((last < frames - 1).sum())
        return {"frames": frames, "tracks": len(seen), "on_every_frame": int((seen == frames).sum()), "gone": gone}

    def sentence(self) -> str:
        """The same in words."""
        s = self.summary()
        return (
            f"{s['frames']} frames: {s['tracks']} particles followed, {s['on_every_frame']} of them on every frame, "
            f"{s['gone']} gone before the last"
        )


def _spacing(places: list[np.ndarray]) -> float:
    """Median distance [px] of a particle's nearest neighbour."""
    from scipy.spatial import cKDTree

    near = [cKDTree(p).query(p, k=2)[0][:, 1] for p in places if len(p) > 1]
    return float(np.median(np.concatenate(near))) if near else 20.0


def _trackpy() -> Any:
    try:
        trackpy = importlib.import_module("trackpy")
    except ImportError:
        raise MicrotomoError("tracking needs trackpy: install it with `pip install microtomo[tracking]`") from None
    trackpy.quiet()
    return trackpy
