"""``particles``: what there is on a micrograph, how large and how sure, as a table, a summary and outlines."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.registry import measurement
from microtomo.tem.measurement import Column, Measured, Outlines
from microtomo.tem.particles.maps import Maps
from microtomo.tem.particles.mask_maps import mask_maps
from microtomo.tem.particles.measurement import Particles, measure_particles
from microtomo.tem.particles.statistics import size_distribution
from microtomo.tem.segmentation import Segmentation

WHOLE, CUT = "#009E73", "#CC79A7"
"""Colours of outlines: whole particles, and those that the border cuts."""


@measurement("particles", task="particle", from_labels=True, distribution="diameter", followed=True)
def particles(image: np.ndarray, segmentation: Segmentation, pixel_nm: float | None) -> Measured:
    """Position, size with its standard deviation, and shape of every nanoparticle; touching ones are parted.

    Networks name sizes themselves; of a mask alone, sizes are those of its areas, and deviations those of an outline
    known to the pixel. Particles that the border cuts are flagged, and left out of the distribution of sizes.
    """
    maps = segmentation.details if isinstance(segmentation.details, Maps) else mask_maps(segmentation.mask)
    found = measure_particles(maps)
    p = found.particles
    marks = tuple(
        Outlines([found.outlines[k] for k in np.flatnonzero(which)], colour, 0.8, label)
        for which, colour, label in ((~p.border, WHOLE, "whole"), (p.border, CUT, "cut by the border"))
        if which.any()
    )
    summary, sentence = summed_up(p, pixel_nm)
    return Measured({"particles": columns(p, pixel_nm)}, summary, sentence, marks, sentence, pixel_nm)


def summed_up(p: Particles, pixel_nm: float | None) -> tuple[dict[str, Any], str]:
    """Numbers and sizes in plain values, and in a sentence."""
    summary: dict[str, Any] = {"particles": len(p), "cut_by_border": int(p.border.sum()), "pixel_nm": pixel_nm}
    if not len(p) or p.border.all():
        return summary, f"{len(p)} particles" + (", all cut by the border" if len(p) else "")
    unit = "px" if pixel_nm is None else "nm"
    sizes = size_distribution(p.diameter_px * (pixel_nm or 1.0), p.border)
    sentence = f"{len(p)} particles, {sizes.sentence(unit)}"
    return {**summary, **sizes.summary(unit)}, sentence


def columns(p: Particles, pixel_nm: float | None) -> tuple[Column, ...]:
    """The table: pixels of the image, nanometres where ``pixel_nm`` is known, else empty.

    Raises MicrotomoError for a pixel size that is not a number above 0.
    """
    if pixel_nm is not None and not (np.isfinite(pixel_nm) and pixel_nm > 0):
        raise MicrotomoError(f"pixel_nm {pixel_nm}: give a number of nanometres above 0")

    def pixels(*names: str) -> list[Column]:
        return [Column(name, getattr(p, name), ".3f") for name in names]

    def nanometres(name: str) -> Column:
        if pixel_nm is None:
            return Column(f"{name}_nm", [""] * len(p))
        return Column(f"{name}_nm", getattr(p, f"{name}_px") * pixel_nm, ".4f")

    return (
        *pixels("x", "y", "x0", "y0", "x1", "y1", "area_px", "diameter_px"),
        nanometres("diameter"),
        *pixels("diameter_sd_px"),
        Column("border", p.border.astype(int), "d"),
        *(nanometres(name) for name in ("diameter_sd", "feret", "least_feret", "major", "minor")),
        *pixels("feret_px", "least_feret_px", "major_px", "minor_px", "circularity", "score"),
    )
