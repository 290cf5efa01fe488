"""Tables 1.1, 1.2, 2.1, 2.2 and 2.3: the report's figures with ours beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from microtomo.report.page import Cell, Table
from microtomo.reproduce.sem import published
from microtomo.reproduce.sem.reconstructions import Statistics

MARK = "▼"
"""Beside a figure of ours that is below the published one, for those who do not see the red."""
_HEADER = ["method", "mIoU", "mRecall", "mAccuracy", "pooled mIoU", "± of mIoU"]


def ordered(methods: Iterable[str]) -> list[str]:
    """Methods in the report's order, those that it has not below."""
    known = list(methods)
    return [m for m in published.NAMES if m in known] + [m for m in known if m not in published.NAMES]


def overall(statistics: Mapping[str, Statistics], theirs: Mapping[str, Sequence[float]]) -> Table:
    """Tables 1.1 and 2.1: mIoU, mRecall, mAccuracy; then pooled mIoU, standard error over structures."""
    scores = {m: one.scores for m, one in statistics.items()}
    ours = {m: (s.miou, s.mrecall, s.maccuracy, s.pooled_miou, statistics[m].standard_error) for m, s in scores.items()}
    if all(isnan(values[-1]) for values in ours.values()):  # one structure
        return _side_by_side(_HEADER[:-1], {m: values[:-1] for m, values in ours.items()}, theirs)
    return _side_by_side(_HEADER, ours, theirs)


def by_material(statistics: Mapping[str, Statistics], theirs: Mapping[str, Sequence[float]], first: str) -> Table:
    """Tables 1.2 (``first``: iou) and 2.2 (precision): that and the recall of each material; pooled, the IoU."""
    ours = {}
    for method, one in statistics.items():
        s = one.scores
        values = getattr(s, first)
        ours[method] = (values[1], s.recall[1], values[2], s.recall[2], s.pooled_iou[1], s.pooled_iou[2])
    name = {"iou": "IoU", "precision": "precision"}[first]
    header = ["method", f"gold {name}", "gold recall", f"aluminium {name}", "aluminium recall"]
    return _side_by_side([*header, "gold pooled IoU", "aluminium pooled IoU"], ours, theirs)


def by_noise(statistics: Mapping[str, Mapping[float, Statistics]], theirs: Mapping[float, Sequence[float]]) -> Table:
    """Tables 2.1 and 2.3: the experimental structure by noise level, methods one below the other."""
    rows: list[list[Cell | str]] = []
    grey = []
    for method, levels in statistics.items():
        for noise, one in levels.items():
            name = "no noise" if noise == 0 else f"{noise:.1%} noise"
            figures = theirs.get(noise) if method == "tikhonov" else None
            if figures is not None:
                grey.append(len(rows))
                rows.append([f"{published.NAMES[method]}, {name}, report", *(f"{v:.3f}" for v in figures), ""])
            s = one.scores
            rows.append([f"{method}, {name}", *_cells((s.miou, s.mrecall, s.maccuracy, s.pooled_miou), figures)])
    return Table(_HEADER[:-1], rows, published=grey)


def below(table: Table) -> list[str]:
    """Which figures of a table are below the published ones, a line a method."""
    lines = []
    for row in table.rows:
        named = zip(table.header, row, strict=True)
        columns = [column for column, cell in named if isinstance(cell, Cell) and cell.worse]
        if columns:
            lines.append(f"{str(row[0]).removesuffix(', ours')} ({', '.join(columns)})")
    return lines


def _side_by_side(
    header: Sequence[str], ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]
) -> Table:
    """The report's row in grey, ours below it; the best of our figures in each of the report's columns in bold."""
    width = len(next(iter(theirs.values())))
    top = [max(values[i] for values in ours.values()) for i in range(width)]
    rows: list[list[Cell | str]] = []
    grey = []
    for method in ordered({**theirs, **ours}):
        figures = theirs.get(method)
        if figures is not None:
            grey.append(len(rows))
            blank = [""] * (len(header) - 1 - len(figures))
            rows.append([f"{published.NAMES[method]}, report", *(f"{v:.3f}" for v in figures), *blank])
        if method in ours:
            rows.append([f"{method}, ours", *_cells(ours[method], figures, top)])
    return Table(header, rows, published=grey)


def _cells(values: Sequence[float], theirs: Sequence[float] | None, top: Sequence[float] = ()) -> list[Cell | str]:
    cells: list[Cell | str] = []
    for i, value in enumerate(values):
        # both to the digits that the report gives
        worse = theirs is not None and i < len(theirs) and round(value, 3) < theirs[i]
        best = i < len(top) and round(value, 3) == round(top[i], 3)
        text = "" if isnan(value) else f"{value:.3f}"
        cells.append(Cell(f"{MARK} {text}" if worse else text, worse=worse, best=best and not worse))
    return cells
