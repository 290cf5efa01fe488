"""Show a reconstruction or a scan: in a window, in a browser, or inline in a notebook."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.io.studies import load_study
from microtomo.scan import Array, Reconstruction, Scan
from microtomo.study import Study, one_reconstruction, one_scan
from microtomo.viewer.panels import make_panels
from microtomo.viewer.server import LOOPBACK, serve
from microtomo.viz.web import MOST_FACES, scene_page


def view_in_browser(study: Study, host: str = LOOPBACK, port: int = 0, ready: Callable[[str], None] = print) -> None:
    """Serve the viewer until Ctrl-C; ``ready`` gets the address. See :func:`microtomo.viewer.server.serve`."""
    try:
        # a page that is still connecting when the viewer ends is no error
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        asyncio.run(serve(study, host, port, ready))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


class Shown:
    """What :func:`show` returns: a page that a notebook shows inline, and keeps when it is saved."""

    def __init__(self, page: str, height: int) -> None:
        self.page = page
        self.height = height

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{escape(self.page, quote=True)}" title="microtomo" '
            f'style="width: 100%; height: {self.height}px; border: 1px solid #ccc"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<a scene of {len(self.page) / 1e6:.1f} MB to show in a notebook; .save(path) writes it as HTML>"

    def save(self, path: str | Path) -> Path:
        """Write the page to a file. Raises MicrotomoError where it cannot be written."""
        from microtomo.io.atomic import whole_file, writing

        with whole_file(path) as temporary, writing(path):
            temporary.write_text(self.page, encoding="utf-8", errors="backslashreplace")
        return Path(path)


def show(
    what: Reconstruction | Scan | str | Path, *, truth: Array | None = None, sample: int = 0, height: int = 560
) -> Shown:
    """Show a reconstruction or a scan in a notebook, from memory or from a file.

    The scene (of the true thickness, for a scan that knows it; else the signal) needs neither server nor network, so
    it works on a remote notebook too. ``truth`` (l, y, x) [nm] is shown instead where ``what`` is a scan.
    Raises MicrotomoError for files that cannot be read or samples that are not there.
    """
    if isinstance(what, str | Path):
        study = load_study(Path(what), sample)
    elif isinstance(what, Reconstruction):
        study = Study(what.method, one_reconstruction(what, sample), None, truth)
    elif isinstance(what, Scan):
        scan = one_scan(what, sample)
        study = Study("scan", None, scan, truth if truth is not None else scan.truth)
    else:
        raise MicrotomoError(f"cannot show {type(what).__name__}: give a Reconstruction, a Scan or the path of a file")
    panels = make_panels(study, most_faces=MOST_FACES)
    panel: Any = panels.get("reconstruction") or panels.get("truth")
    if panel is not None:
        return Shown(scene_page(replace(panel.scene, title=f"{study.name}: {panel.title}")), height)
    return Shown(_signal_page(study), height)


def _signal_page(study: Study) -> str:
    from base64 import b64encode
    from io import BytesIO

    from microtomo.viz.scan_figures import scan_figure

    assert study.scan is not None
    file = BytesIO()
    scan = study.scan
    scan_figure(scan.data, scan.energies_kev, pixel_nm=scan.pixel_nm, title=study.name).savefig(file, dpi=110)
    picture = b64encode(file.getvalue()).decode()
    return f'<!DOCTYPE html><img style="max-width: 100%" alt="scan" src="data:image/png;base64,{picture}">'
