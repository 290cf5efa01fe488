"""What the compiled walk works on: tables, sample, beam, and the electrons that take turns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from microtomo.physics.walk_draws import jit

(
    AT_X,
    AT_Y,
    AT_Z,
    AT_U,
    AT_V,
    AT_W,
    AT_LEFT,
    AT_PATH,
    AT_TOP,
    AT_BOTTOM,
    AT_WEST,
    AT_EAST,
    AT_SOUTH,
    AT_NORTH,
    AT_X_IN,
    AT_Y_IN,
) = range(16)
"""Columns of a lane's state: place, direction, clock, residual path, faces and walls, entry into the deepest film."""
_STATE = AT_Y_IN + 1


class Tables(NamedTuple):
    """:class:`~microtomo.physics.walk_tables.WalkTables` of all media, stacked; clocks in table points.

    ``clock`` (medium, CLOCK + 1, 3): residual path [nm], energy row, greatest depth that lets an electron return [nm].
    """

    clock: np.ndarray
    clock_of_row: np.ndarray
    clock_of_path: np.ndarray
    deflection: np.ndarray
    scales: np.ndarray


class Sample(NamedTuple):
    """``media`` (slab,) from the top; ``bottoms`` (y, x, slab) float32, their lower faces [nm]; the pixel [nm].

    The last slab is the substrate below the deepest film of the map, the one before the substrate above that depth.
    """

    media: np.ndarray
    bottoms: np.ndarray
    pixel_nm: float


class Beam(NamedTuple):
    """Place of the beam and its standard deviation [nm], direction, energy row, seed, number of the first electron."""

    x_nm: float
    y_nm: float
    spread_nm: float
    u: float
    v: float
    w: float
    row: float
    diffuse: bool
    seed: np.uint64
    first: int


class Lanes(NamedTuple):
    """State of the electrons that take turns."""

    random: np.ndarray
    state: np.ndarray
    number: np.ndarray
    slab: np.ndarray
    iy: np.ndarray
    ix: np.ndarray
    deepest: np.ndarray


@jit
def new_lanes(count: int) -> Lanes:
    """Empty lanes."""
    return Lanes(
        np.empty(count, dtype=np.uint64),
        np.empty((count, _STATE), dtype=np.float32),
        np.empty(count, dtype=np.int64),
        np.empty(count, dtype=np.int64),
        np.empty(count, dtype=np.int64),
        np.empty(count, dtype=np.int64),
        np.empty(count, dtype=np.int64),
    )


@jit
def move(source: int, target: int, lanes: Lanes) -> None:
    """Copy a lane."""
    lanes.random[target] = lanes.random[source]
    lanes.state[target] = lanes.state[source]
    lanes.number[target] = lanes.number[source]
    lanes.slab[target] = lanes.slab[source]
    lanes.iy[target] = lanes.iy[source]
    lanes.ix[target] = lanes.ix[source]
    lanes.deepest[target] = lanes.deepest[source]
