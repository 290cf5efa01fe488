"""Scans and reconstructions as a notebook shows them: figures, and a thumbnail beside a line of words."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from html import escape
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from microtomo.scan import Array, Reconstruction, Scan
from microtomo.study import Study, one_reconstruction, one_scan
from microtomo.viz.drawn import study_figure
from microtomo.viz.figures import array, save_figure
from microtomo.viz.maps import map_names, map_scale, one_map, png

_DPI = 100  # of a figure inline, sharp enough at its own size
_THUMBNAIL_PX = 128
_MOST_THUMBNAILS = 3  # side by side in a cell of 600 px


class Drawn:
    """A figure that a notebook shows inline; ``figure`` is Matplotlib's."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight")
        return file.getvalue()

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<a figure of {width:.1f} x {height:.1f} inches to show in a notebook; .save(path) writes it>"

    def save(self, path: str | Path) -> Path:
        """Write it as .png, .svg or .pdf. Raises MicrotomoError where it cannot be written."""
        save_figure(self.figure, path)
        return Path(path)


def plot(
    what: Scan | Reconstruction, figure: str | None = None, *, sample: int = 0, truth: Array | None = None
) -> Drawn:
    """One of the figures of :func:`microtomo.viz.drawn.study_figure`, else images of a scan or maps of thickness.

    Raises MicrotomoError for samples and figures that are not there.
    """
    study = _study(what, sample)
    study = study if truth is None else replace(study, truth=truth)
    name = figure or ("scan" if study.rec is None else "maps")
    return Drawn(study_figure(name, study, study.name))


def html(what: Scan | Reconstruction) -> str:
    """The line of words, and small pictures: of a scan its middle energy, of a reconstruction a map a layer."""
    study = _study(what, 0)
    names = map_names(study)[:1] if study.rec is None else [f"{s} thickness" for s in reversed(study.stack.symbols)]
    pictures = []
    for name in names[:_MOST_THUMBNAILS]:
        energies = 1 if study.scan is None else len(study.scan.energies_kev)
        image = array(one_map(study, name, energies // 2))
        step = max(1, max(image.shape) // _THUMBNAIL_PX)
        data = b64encode(png(map_scale(study, name).paint(image[::step, ::step]))).decode()
        style = f"height: {_THUMBNAIL_PX}px; image-rendering: pixelated"
        caption = escape(name if study.scan is None else f"{study.scan.energies_kev[energies // 2]:g} keV")
        pictures.append(
            f'<figure style="display: inline-block; margin: 0 8px 0 0"><img style="{style}" alt="{caption}" '
            f'src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
        )
    return f"<div><code>{escape(repr(what))}</code><div>{''.join(pictures)}</div></div>"


def _study(what: Scan | Reconstruction, sample: int) -> Study:
    if isinstance(what, Scan):
        scan = one_scan(what, sample)
        return Study("scan", None, scan, scan.truth)
    return Study(what.method, one_reconstruction(what, sample))
