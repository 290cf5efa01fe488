"""Rows of a measurement followed over the frames of a series: their table and curves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from microtomo.cli.measured_parts import Part

if TYPE_CHECKING:
    from microtomo.registry import Measurement
    from microtomo.tem.particles.tracking import Series


def followed(known: Measurement, parts: Iterable[Part], path: Path) -> Series:
    """Follow what was measured on all frames, in their order, and write the table of tracks to ``path``.

    Raises MicrotomoError where trackpy is not installed or there is nothing to follow.
    """
    import numpy as np

    from microtomo.tem.measurement import Column, write_table
    from microtomo.tem.particles.tracking import Frame, Series, coarsening, link

    names, frames, pixel_nm = [], [], None
    for part in parts:
        cells = {column.name: column.values for column in part.tables[known.tables[0]]}
        x, y, diameter = (np.array(cells[name], dtype=float) for name in ("x", "y", "diameter_px"))
        frames.append(Frame(x, y, diameter, np.array(cells["border"]) == "1"))
        names.append(part.name)
        pixel_nm = part.summary.get("pixel_nm")
    tracks = link(frames)
    table = []
    for k, name in enumerate(names):
        here = tracks.frame == k
        of = frames[k]
        place = tracks.particle[here]
        table.append(
            (
                name,
                (
                    Column("frame", [k] * int(here.sum()), "d"),
                    Column("track", tracks.track[here], "d"),
                    *(Column(c, getattr(of, c)[place], ".3f") for c in ("x", "y", "diameter_px")),
                    Column("border", of.border[place].astype(int), "d"),
                ),
            )
        )
    write_table(path, table, True)
    return Series(tracks, coarsening(frames), pixel_nm)
