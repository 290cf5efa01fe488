"""The compiled walk of single electrons through a map of layered columns, on its own random numbers."""

from __future__ import annotations

import numpy as np
from numpy import float32, int64, uint64

from microtomo.physics.walk_draws import between, bin_of_tail, jit, minus_log, mixed, on_clock, turned
from microtomo.physics.walk_state import (
    AT_BOTTOM,
    AT_EAST,
    AT_LEFT,
    AT_NORTH,
    AT_PATH,
    AT_SOUTH,
    AT_TOP,
    AT_U,
    AT_V,
    AT_W,
    AT_WEST,
    AT_X,
    AT_X_IN,
    AT_Y,
    AT_Y_IN,
    AT_Z,
    Beam,
    Lanes,
    Sample,
    Tables,
    move,
    new_lanes,
)
from microtomo.physics.walk_tables import CLOCK

ENERGY_ROW, COSINE, X, Y, DEEPEST, X_IN, Y_IN = range(7)
"""Columns of the walk's results; an electron that did not leave has energy row -1.

X_IN and Y_IN say where an electron first came into its deepest film.
"""
COLUMNS = Y_IN + 1
_FAR = 1e30  # nm
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step
_TWICE_GOLDEN = np.uint64(0x3C6EF372FE94F82A)
_STREAM = np.uint64(0xD1342543DE82EF95)  # between electrons: the multiplier of Steele & Vigna (2022)
_LANES = 16  # electrons that take turns


@jit
def enter(i: int, index: int, begin: Beam, tables: Tables, sample: Sample, lanes: Lanes) -> None:
    """Put electron ``index`` of the call into lane i, at the surface."""
    random = mixed(mixed(begin.seed) + uint64(begin.first + index) * _STREAM)
    a, b, c = mixed(random + _GOLDEN), mixed(random + _GOLDEN * uint64(2)), mixed(random + _GOLDEN * uint64(3))
    lanes.random[i] = random + _GOLDEN * uint64(3)
    s = lanes.state[i]
    radius = begin.spread_nm * np.sqrt(2 * minus_log(a))
    angle = 2 * np.pi * uint64(b >> uint64(11)) * 2.0**-53
    s[AT_X] = begin.x_nm + radius * np.cos(angle)
    s[AT_Y] = begin.y_nm + radius * np.sin(angle)
    s[AT_Z] = 0
    s[AT_U], s[AT_V], s[AT_W] = begin.u, begin.v, begin.w
    if begin.diffuse:
        share = (uint64(c >> uint64(32)) + 0.5) * 2.0**-32
        turn = 2 * np.pi * uint64(c & uint64(0xFFFFFFFF)) * 2.0**-32
        s[AT_U], s[AT_V], s[AT_W] = np.sqrt(1 - share) * np.cos(turn), np.sqrt(1 - share) * np.sin(turn), np.sqrt(share)
    lanes.number[i] = index
    lanes.deepest[i] = 0
    s[AT_X_IN], s[AT_Y_IN] = s[AT_X], s[AT_Y]
    lanes.slab[i] = -1
    find_pixel(i, sample, lanes)
    step_down(i, sample, lanes)
    medium = sample.media[lanes.slab[i]]
    s[AT_LEFT] = between(tables.clock_of_row[medium], float32(begin.row * tables.scales[medium, 1]))
    s[AT_PATH] = on_clock(tables.clock, medium, s[AT_LEFT], 0)


@jit
def find_pixel(i: int, sample: Sample, lanes: Lanes) -> None:
    """Pixel of the map below lane i's electron, and its walls; the outermost pixels go on for ever."""
    height, width = sample.bottoms.shape[0], sample.bottoms.shape[1]
    s = lanes.state[i]
    iy = min(max(int64(np.floor(s[AT_Y] / sample.pixel_nm)), int64(0)), int64(height - 1))
    ix = min(max(int64(np.floor(s[AT_X] / sample.pixel_nm)), int64(0)), int64(width - 1))
    lanes.iy[i], lanes.ix[i] = iy, ix
    set_walls(i, sample, lanes)


@jit
def set_walls(i: int, sample: Sample, lanes: Lanes) -> None:
    """Walls of lane i's pixel [nm]."""
    height, width = sample.bottoms.shape[0], sample.bottoms.shape[1]
    s, iy, ix = lanes.state[i], lanes.iy[i], lanes.ix[i]
    s[AT_WEST] = -_FAR if ix == 0 else ix * sample.pixel_nm
    s[AT_EAST] = _FAR if ix == width - 1 else (ix + 1) * sample.pixel_nm
    s[AT_SOUTH] = -_FAR if iy == 0 else iy * sample.pixel_nm
    s[AT_NORTH] = _FAR if iy == height - 1 else (iy + 1) * sample.pixel_nm


@jit
def set_slab(i: int, slab: int, sample: Sample, lanes: Lanes) -> None:
    """Put lane i into a slab of its column."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    s = lanes.state[i]
    lanes.slab[i] = slab
    if slab > lanes.deepest[i]:
        if lanes.deepest[i] < faces.size - 2:
            s[AT_X_IN], s[AT_Y_IN] = s[AT_X], s[AT_Y]
        lanes.deepest[i] = slab
    s[AT_TOP] = faces[slab - 1] if slab > 0 else float32(0)
    s[AT_BOTTOM] = faces[slab]


@jit
def step_down(i: int, sample: Sample, lanes: Lanes) -> None:
    """Next slab below that has a thickness."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    slab = lanes.slab[i] + 1
    while slab < faces.size - 1 and faces[slab] <= (faces[slab - 1] if slab > 0 else float32(0)):
        slab += 1
    set_slab(i, slab, sample, lanes)


@jit
def step_up(i: int, sample: Sample, lanes: Lanes) -> bool:
    """Next slab above that has a thickness; False where there is only vacuum."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    slab = lanes.slab[i] - 1
    while slab >= 0 and faces[slab] <= (faces[slab - 1] if slab > 0 else float32(0)):
        slab -= 1
    if slab >= 0:
        set_slab(i, slab, sample, lanes)
    return bool(slab >= 0)


@jit
def distance(at: np.float32, along: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """Path to the nearer of two parallel walls [nm]."""
    if along > float32(0):
        return max((high - at) / along, float32(0))
    return max((low - at) / along, float32(0)) if along < float32(0) else float32(_FAR)


@jit
def cross(i: int, tables: Tables, sample: Sample, lanes: Lanes, out: np.ndarray) -> bool:
    """Take lane i to the face or wall on its way; True when the electron leaves the sample."""
    s = lanes.state[i]
    slab, medium = lanes.slab[i], sample.media[lanes.slab[i]]
    to_face = distance(s[AT_Z], s[AT_W], s[AT_TOP], s[AT_BOTTOM])
    to_x, to_y = float32(_FAR), float32(_FAR)
    if slab < sample.media.size - 1:
        to_x = distance(s[AT_X], s[AT_U], s[AT_WEST], s[AT_EAST])
        to_y = distance(s[AT_Y], s[AT_V], s[AT_SOUTH], s[AT_NORTH])
    way = min(to_face, to_x, to_y)
    s[AT_X] += s[AT_U] * way
    s[AT_Y] += s[AT_V] * way
    path = max(s[AT_PATH] - way, float32(0))
    left = between(tables.clock_of_path[medium], float32(np.sqrt(path) * tables.scales[medium, 2]))
    row = on_clock(tables.clock, medium, left, 1)
    if way == to_face:
        down = s[AT_W] > float32(0)
        s[AT_Z] = s[AT_BOTTOM] if down else s[AT_TOP]
        if not down and slab == sample.media.size - 1:
            find_pixel(i, sample, lanes)
        if down:
            step_down(i, sample, lanes)
        elif not step_up(i, sample, lanes):
            leave(i, row, lanes, out)
            return True
    else:
        s[AT_Z] += s[AT_W] * way
        if way == to_x:
            lanes.ix[i] += 1 if s[AT_U] > float32(0) else -1
            s[AT_X] = s[AT_EAST] if s[AT_U] > float32(0) else s[AT_WEST]
        else:
            lanes.iy[i] += 1 if s[AT_V] > float32(0) else -1
            s[AT_Y] = s[AT_NORTH] if s[AT_V] > float32(0) else s[AT_SOUTH]
        set_walls(i, sample, lanes)
        faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
        other = 0
        while faces[other] <= s[AT_Z]:
            other += 1
        set_slab(i, other, sample, lanes)
    now = sample.media[lanes.slab[i]]
    if now != medium:
        left = between(tables.clock_of_row[now], row * float32(tables.scales[now, 1]))
    s[AT_LEFT] = left
    s[AT_PATH] = on_clock(tables.clock, now, left, 0)
    return False


@jit
def leave(i: int, row: np.float32, lanes: Lanes, out: np.ndarray) -> None:
    """Write down an electron that leaves through the surface (row >= 0) or stays (row -1)."""
    s = lanes.state[i]
    result = out[lanes.number[i]]
    result[ENERGY_ROW] = row
    result[COSINE] = -s[AT_W]
    result[X] = s[AT_X]
    result[Y] = s[AT_Y]
    result[DEEPEST] = float32(lanes.deepest[i])
    result[X_IN] = s[AT_X_IN]
    result[Y_IN] = s[AT_Y_IN]


@jit
def walk(tables: Tables, sample: Sample, begin: Beam, out: np.ndarray) -> None:
    """Follow electrons ``begin.first`` .. + out.shape[0] - 1 until they leave, stop or are too deep to come back.

    ``out`` (electron, COLUMNS). Electrons take turns in a few lanes, so that the processor overlaps their steps.
    """
    active = min(_LANES, out.shape[0])
    lanes = new_lanes(active)
    for i in range(active):
        enter(i, i, begin, tables, sample, lanes)
    following = active
    state, random, clock, deflection = lanes.state, lanes.random, tables.clock, tables.deflection
    rates = tables.scales[:, 0].astype(np.float32)
    media, slabs, deepest_slab = sample.media, lanes.slab, sample.media.size - 1
    while active > 0:
        i = 0
        while i < active:
            u, v, w = state[i, AT_U], state[i, AT_V], state[i, AT_W]
            slab = slabs[i]
            medium = media[slab]
            word, other = mixed(random[i] + _GOLDEN), mixed(random[i] + _TWICE_GOLDEN)
            random[i] += _TWICE_GOLDEN
            left = max(state[i, AT_LEFT] - minus_log(word) * rates[medium], float32(0))
            point = min(int64(left), int64(CLOCK - 1))
            share = left - float32(point)
            path = clock[medium, point, 0] + share * (clock[medium, point + 1, 0] - clock[medium, point, 0])
            way = state[i, AT_PATH] - path
            x, y, z = state[i, AT_X] + u * way, state[i, AT_Y] + v * way, state[i, AT_Z] + w * way
            over = False
            if (state[i, AT_TOP] <= z) & (z < state[i, AT_BOTTOM]) and (
                slab == deepest_slab
                or (state[i, AT_WEST] <= x)
                & (x < state[i, AT_EAST])
                & (state[i, AT_SOUTH] <= y)
                & (y < state[i, AT_NORTH])
            ):
                if (left <= float32(0)) | (clock[medium, point + 1, 2] < z):
                    leave(i, float32(-1), lanes, out)
                    over = True
                else:
                    row = clock[medium, point, 1] + share * (clock[medium, point + 1, 1] - clock[medium, point, 1])
                    k = int64(row + float32(uint64(other >> uint64(48))) * float32(2**-16))
                    position, fraction = bin_of_tail(other)
                    low = deflection[medium, k, position]
                    bend = low + fraction * (deflection[medium, k, position + 1] - low)
                    u, v, w = turned(u, v, w, bend, other >> uint64(24))
                    state[i, AT_X], state[i, AT_Y], state[i, AT_Z] = x, y, z
                    state[i, AT_U], state[i, AT_V], state[i, AT_W] = u, v, w
                    state[i, AT_LEFT], state[i, AT_PATH] = left, path
            else:
                over = cross(i, tables, sample, lanes, out)
            if not over:
                i += 1
            elif following < out.shape[0]:
                enter(i, following, begin, tables, sample, lanes)
                following += 1
            else:
                active -= 1
                move(active, i, lanes)
