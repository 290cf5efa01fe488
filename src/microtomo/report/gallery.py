"""The pictures of a structure that was reconstructed by several methods, and the table of their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.materials import Stack
from microtomo.registry import list_methods
from microtomo.report.page import Cell, Picture, Section, Table
from microtomo.scan import Reconstruction, Scan
from microtomo.viz import scan_figures
from microtomo.viz.figures import array, save_figure
from microtomo.viz.render import render_png
from microtomo.viz.scene import Scene, thickness_scene
from microtomo.viz.score_figures import ScoreBar, score_figure
from microtomo.viz.spectrum import spectrum_figure
from microtomo.viz.web import MOST_FACES, render_html
from microtomo.voxels import thickness_to_volume

TEST, EXPERIMENTAL = "test set", "experimental structure"
"""Trials of the leaderboard whose published figures stand beside ours."""


@dataclass(frozen=True)
class PublishedScore:
    """A published method and its mean IoU on the Perlin test set and on the experimental structure, 2 % noise."""

    name: str
    test: float
    experimental: float


def published() -> list[PublishedScore]:
    """Figures of the SEM microtomography report, the numerical solution first."""
    known = sorted(list_methods(task="layers"), key=lambda m: m.learned)
    return [
        PublishedScore(f"{m.published.name} (report)", m.published.scores[TEST], m.published.scores[EXPERIMENTAL])
        for m in known
        if m.published is not None and {TEST, EXPERIMENTAL} <= m.published.scores.keys()
    ]


@dataclass(frozen=True)
class Result:
    """Scores of a method: mean IoU on the Perlin structures and on the experimental structure, root mean square
    thickness errors [nm] by layer on the Perlin structures, seconds a scan."""

    method: str
    test: float
    experimental: float
    rmse_nm: Sequence[float]
    seconds: float

    @property
    def below_published(self) -> tuple[bool, bool]:
        """Whether test and experimental score are below the published numerical solution."""
        numerical = published()[0]
        return self.test < numerical.test, self.experimental < numerical.experimental


def score_table(results: Sequence[Result], stack: Stack, compare: bool) -> Table:
    """Our methods, best first, and the published ones below where the data allow to ``compare``."""
    errors = [f"{s} rmse [nm]" for s in reversed(stack.symbols)]
    header = ["method", "mIoU Perlin", "mIoU experimental", *errors, "s a scan"]
    ranked = sorted(results, key=lambda r: -r.test)
    top = [max((r.test for r in results), default=0.0), max((r.experimental for r in results), default=0.0)]
    rows: list[list[Cell | str]] = []
    for r in ranked:
        worse = r.below_published if compare else (False, False)
        scores = [
            Cell(f"{v:.3f}", worse=w, best=v == t) for v, w, t in zip((r.test, r.experimental), worse, top, strict=True)
        ]
        rows.append([r.method, *scores, *(f"{e:.2f}" for e in reversed(r.rmse_nm)), f"{r.seconds:.2f}"])
    if compare:
        blank = [""] * (len(errors) + 1)
        rows += [[p.name, f"{p.test:.3f}", f"{p.experimental:.3f}", *blank] for p in published()]
    return Table(header, rows, published=range(len(ranked), len(rows)))


def score_bars(results: Sequence[Result], compare: bool) -> Any:
    """Figure of the same scores as bars."""
    groups = {}
    for name, key in (("Perlin structures", "test"), ("experimental structure", "experimental")):
        ours = [ScoreBar(r.method, getattr(r, key)) for r in results]
        theirs = [ScoreBar(p.name, getattr(p, key), published=True) for p in published()] if compare else []
        groups[name] = ours + theirs
    return score_figure(groups, title="Mean IoU by the published protocol")


def telling_pixel(thickness: np.ndarray) -> tuple[int, int]:
    """A pixel (y, x) where as many layers as possible lie on one another, far from their edges."""
    from scipy.ndimage import distance_transform_edt

    layers = (thickness > 0).sum(0)
    inside = distance_transform_edt(np.pad(layers == layers.max(), 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(y), int(x)


class Gallery:
    """Writes the pictures of structures into a folder and collects them as sections of a report.

    ``best`` names the method of the 3D scenes; without ``draw_3d`` (no OpenGL libraries) only HTML scenes are written.
    """

    def __init__(self, folder: Path, best: str, draw_3d: bool) -> None:
        self.folder, self.best, self.draw_3d = folder, best, draw_3d

    def structure(
        self, name: str, heading: str, scan: Scan, recs: Mapping[str, Reconstruction], *, full: bool
    ) -> Section:
        """Thickness maps of one structure; with ``full`` also scenes, section, spectrum, error bars and fit.

        ``scan`` (e, y, x) knows its truth; ``recs`` are of that sample.
        """
        rec, truth = recs[self.best], array(scan.truth)
        stack, pixel_nm = rec.stack, rec.pixel_nm
        maps = scan_figures.thickness_figure(
            {n: r.thickness for n, r in recs.items()}, stack, truth=truth, pixel_nm=pixel_nm, title=heading
        )
        pictures = [self._save(maps, f"{name}_maps.png", "Thickness: truth, each method, and its error below.")]
        if not full:
            return Section(heading, pictures=pictures)
        rendered, scene = self._scenes(name, heading, rec, truth)
        pictures = rendered + pictures
        pixel = telling_pixel(truth)
        volumes = {"truth": thickness_to_volume(truth, rec.volume.shape[0], rec.voxel_nm)}
        volumes |= {n: r.volume for n, r in recs.items()}
        for drawn, file, caption in (
            (
                scan_figures.section_figure(volumes, stack, pixel[0], voxel_nm=rec.voxel_nm, pixel_nm=pixel_nm),
                "section", f"Labelled volumes cut at image row {pixel[0]}.",
            ),
            (
                spectrum_figure(scan, recs, pixel),
                "spectrum", "One pixel: observed signal, and what each method's thickness would give.",
            ),
            (
                scan_figures.uncertainty_figure({n: r.uncertainty for n, r in recs.items()}, stack, pixel_nm=pixel_nm),
                "uncertainty", "One standard deviation of the thickness.",
            ),
            (
                scan_figures.fit_figure(rec.chi_square, rec.status, pixel_nm=pixel_nm),
                "fit", f"How well the solution of {self.best} explains the scan.",
            ),
        ):  # fmt: skip
            pictures.append(self._save(drawn, f"{name}_{file}.png", caption))
        said = "\n\n".join(f"Verdict on {n}: {v.line}." for n, r in recs.items() for v in r.verdicts)
        return Section(heading, said, scene=scene, pictures=pictures)

    def _scenes(self, name: str, heading: str, rec: Reconstruction, truth: np.ndarray) -> tuple[list[Picture], Scene]:
        pictures = []
        maps = {"truth": truth, self.best: rec.thickness}
        scale = thickness_scene(truth, rec.stack, pixel_nm=rec.pixel_nm).z_scale
        for label, thickness in maps.items():
            scene = thickness_scene(
                thickness, rec.stack, pixel_nm=rec.pixel_nm, z_scale=scale, title=f"{heading}: {label}",
                most_faces=MOST_FACES,
            )  # fmt: skip
            render_html(scene, self.folder / f"{name}_{label}.html")
            if self.draw_3d:
                path = render_png(scene, self.folder / f"{name}_{label}.png")
                pictures.append(Picture(path, f"{heading}: {label}, in 3D.", half=True))
        return pictures, scene

    def _save(self, figure: Any, name: str, caption: str) -> Picture:
        return Picture(save_figure(figure, self.folder / name), caption)
