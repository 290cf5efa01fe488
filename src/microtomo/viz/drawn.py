"""The flat figures of a study, by name."""

from __future__ import annotations

from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.study import Study
from microtomo.viz import scan_figures
from microtomo.viz.spectrum import spectrum_figure
from microtomo.voxels import thickness_to_volume

FIGURES = ("maps", "uncertainty", "fit", "section", "spectrum", "scan")


def figures_of(study: Study) -> list[str]:
    """Names of the figures that a study has."""
    if study.rec is None:
        return ["scan"]
    return ["maps", "uncertainty", "fit", "section", *(["spectrum", "scan"] if study.scan is not None else [])]


def study_figure(
    name: str, study: Study, title: str, pixel: tuple[int, int] | None = None, row: int | None = None
) -> Any:
    """The Matplotlib figure of one of :data:`FIGURES`; ``pixel`` (y, x) is that of the spectrum, ``row`` that of the
    section, else the middle.

    Raises MicrotomoError where the study has none of that name.
    """
    rec, scan = study.rec, study.scan
    options: dict[str, Any] = {"pixel_nm": study.pixel_nm, "title": title}
    if name == "scan":
        if scan is None:
            raise MicrotomoError("is a reconstruction: give the scan itself for --figure scan")
        return scan_figures.scan_figure(scan.data, scan.energies_kev, **options)
    if rec is None:
        raise MicrotomoError(f"a scan has no {name}: reconstruct it and render that file, or use --figure scan")
    if name == "maps":
        return scan_figures.thickness_figure({rec.method: rec.thickness}, rec.stack, truth=study.truth, **options)
    if name == "uncertainty":
        return scan_figures.uncertainty_figure({rec.method: rec.uncertainty}, rec.stack, **options)
    if name == "fit":
        return scan_figures.fit_figure(rec.chi_square, rec.status, **options)
    height, width = study.shape
    if name == "section":
        volumes = {rec.method: rec.volume}
        if study.truth is not None:
            volumes = {"truth": thickness_to_volume(study.truth, rec.volume.shape[0], rec.voxel_nm), **volumes}
        cut = height // 2 if row is None else row
        return scan_figures.section_figure(volumes, rec.stack, cut, voxel_nm=rec.voxel_nm, **options)
    assert scan is not None  # of a reconstruction the one that it was made from
    return spectrum_figure(scan, {rec.method: rec}, pixel or (height // 2, width // 2))
