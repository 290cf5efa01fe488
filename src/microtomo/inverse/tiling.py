"""Large images in overlapping tiles: what lies near a tile's border is thrown away, so that no seam is left."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_MOST_PIXELS = 640 * 640  # beyond it, tiles
_TILE, _MARGIN = 512, 64  # pixels of a tile, and of its border that is thrown away


def tiles(height: int, width: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Rows and columns of each tile, and what of the tile is kept; left to right, then downwards."""
    if height * width <= _MOST_PIXELS:
        yield slice(0, height), slice(0, width), slice(0, height), slice(0, width)
        return
    for rows, keep_rows in _spans(height):
        for columns, keep_columns in _spans(width):
            yield rows, columns, keep_rows, keep_columns


def joined(parts: list[tuple[Tensor, int]]) -> Tensor:
    """The whole (..., y, x) of the kept parts of its tiles, each with the row that it begins in."""
    rows: dict[int, list[Tensor]] = {}
    for part, row in parts:
        rows.setdefault(row, []).append(part)
    return torch.cat([torch.cat(row, -1) for row in rows.values()], -2)


def _spans(size: int) -> Iterator[tuple[slice, slice]]:
    step = _TILE - 2 * _MARGIN
    for first in range(0, size, step):
        start, stop = max(0, first - _MARGIN), min(size, first + step + _MARGIN)
        yield slice(start, stop), slice(first - start, min(size, first + step) - start)
