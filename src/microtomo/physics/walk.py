"""The compiled walk of single electrons through a map of layered columns, on its own random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy import float32, int32, int64, uint64

from microtomo.physics.walk_tables import CLOCK, OCTAVES, PER_OCTAVE

_F = TypeVar("_F", bound=Callable[..., Any])
_jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, error_model="numpy")


ENERGY_ROW, COSINE, X, Y, DEEPEST, X_IN, Y_IN = range(7)
"""Columns of the walk's results; an electron that did not leave has energy row -1.

X_IN and Y_IN say where an electron first came into its deepest film.
"""
COLUMNS = 7
_MANTISSA_BITS = 23
_BIN_SHIFT = _MANTISSA_BITS - 5  # PER_OCTAVE = 2^5
_LOWEST_BIN = (127 - OCTAVES) << 5  # float32 exponent of 2^-OCTAVES
_FRACTION = 2.0**-_BIN_SHIFT
_FAR = 1e30  # nm
assert PER_OCTAVE == 1 << 5
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step
_TWICE_GOLDEN = np.uint64(0x3C6EF372FE94F82A)
_STREAM = np.uint64(0xD1342543DE82EF95)  # between electrons: the multiplier of Steele & Vigna (2022)
_LANES = 16  # electrons that take turns
(_X, _Y, _Z, _U, _V, _W, _LEFT, _PATH, _TOP, _BOTTOM, _WEST, _EAST, _SOUTH, _NORTH, _X_IN, _Y_IN) = range(16)
_STATE = 16


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
    index: np.ndarray
    slab: np.ndarray
    iy: np.ndarray
    ix: np.ndarray
    deepest: np.ndarray


@_jit
def mixed(state: np.uint64) -> np.uint64:
    """Output of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) for one state."""
    a = (state ^ (state >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    b = (a ^ (a >> uint64(27))) * uint64(0x94D049BB133111EB)
    return b ^ (b >> uint64(31))


@_jit
def minus_log(word: np.uint64) -> np.float32:
    """-ln u of u = (24 bits + 1/2) / 2^24: exponent, and 2 artanh((m - 1)/(m + 1)) of the mantissa."""
    bits = float32(float32(uint64(word & uint64(0xFFFFFF))) + float32(0.5)).view(np.int32)
    shifted = int32(bits - int32(0x3F3504F3))
    exponent = float32(int32(shifted >> int32(23)) - int32(24))
    m = int32(int32(shifted & int32(0x007FFFFF)) + int32(0x3F3504F3)).view(np.float32)
    s = (m - float32(1)) / (m + float32(1))
    q = s * s
    series = float32(2) + q * (float32(2 / 3) + q * (float32(2 / 5) + q * float32(2 / 7)))
    return -(exponent * float32(np.log(2)) + s * series)


@_jit
def turned(
    u: np.float32, v: np.float32, w: np.float32, deflection: np.float32, word: np.uint64
) -> tuple[np.float32, np.float32, np.float32]:
    """Direction after a deflection 1 - cos and an azimuth of 24 bits; basis of Duff et al., JCGT 6 (2017)."""
    bits = int32(word & uint64(0x3FFFFF))
    angle = float32(bits - int32(0x200000)) * float32(np.pi / 4 / 0x200000)
    q = angle * angle
    sine = angle * (float32(1) - q * (float32(1 / 6) - q * (float32(1 / 120) - q * float32(1 / 5040))))
    cosine = float32(1) - q * (float32(1 / 2) - q * (float32(1 / 24) - q * (float32(1 / 720) - q * float32(1 / 40320))))
    along = sine if word & uint64(0x400000) else cosine
    across = cosine if word & uint64(0x400000) else sine
    size = np.sqrt(max(deflection * (float32(2) - deflection), float32(0)))
    signed = -size if word & uint64(0x800000) else size
    p, r = signed * along, signed * across
    sign = float32(1) if w >= float32(0) else float32(-1)
    a = float32(-1) / (sign + w)
    b = u * v * a
    c = float32(1) - deflection
    nu = c * u + p * (float32(1) + sign * u * u * a) + r * b
    nv = c * v + p * sign * b + r * (sign + v * v * a)
    nw = c * w - p * sign * u - r * v
    length = float32(1.5) - float32(0.5) * (nu * nu + nv * nv + nw * nw)
    return nu * length, nv * length, nw * length


@_jit
def bin_of_tail(word: np.uint64) -> tuple[np.int64, np.float32]:
    """Bin of a 24-bit tail probability in the deflection table and the place in it, straight from the float's bits."""
    tail = (float32(uint64(word & uint64(0xFFFFFF))) + float32(0.5)) * float32(2**-24)
    bits = float32(tail).view(np.int32)
    position = int64(bits >> int32(_BIN_SHIFT)) - int64(_LOWEST_BIN)
    return position, float32(bits & int32((1 << _BIN_SHIFT) - 1)) * float32(_FRACTION)


@_jit
def between(table: np.ndarray, place: np.float32) -> np.float32:
    """Linear interpolation in a table of even steps."""
    k = min(max(int64(place), int64(0)), int64(table.size - 2))
    return table[k] + (place - float32(k)) * (table[k + 1] - table[k])


@_jit
def on_clock(table: np.ndarray, medium: np.int64, place: np.float32, column: np.int64) -> np.float32:
    """Residual path, energy row or farthest depth at a place on a medium's collision clock."""
    k = min(int64(place), int64(CLOCK - 1))
    low = table[medium, k, column]
    return low + (place - float32(k)) * (table[medium, k + 1, column] - low)


@_jit
def enter(i: int, index: int, begin: Beam, tables: Tables, sample: Sample, lanes: Lanes) -> None:
    """Put electron ``index`` of the call into lane i, at the surface."""
    random = mixed(mixed(begin.seed) + uint64(begin.first + index) * _STREAM)
    a, b, c = mixed(random + _GOLDEN), mixed(random + _GOLDEN * uint64(2)), mixed(random + _GOLDEN * uint64(3))
    lanes.random[i] = random + _GOLDEN * uint64(3)
    s = lanes.state[i]
    radius = begin.spread_nm * np.sqrt(2 * minus_log(a))
    angle = 2 * np.pi * uint64(b >> uint64(11)) * 2.0**-53
    s[_X] = begin.x_nm + radius * np.cos(angle)
    s[_Y] = begin.y_nm + radius * np.sin(angle)
    s[_Z] = 0
    s[_U], s[_V], s[_W] = begin.u, begin.v, begin.w
    if begin.diffuse:
        share = (uint64(c >> uint64(32)) + 0.5) * 2.0**-32
        turn = 2 * np.pi * uint64(c & uint64(0xFFFFFFFF)) * 2.0**-32
        s[_U], s[_V], s[_W] = np.sqrt(1 - share) * np.cos(turn), np.sqrt(1 - share) * np.sin(turn), np.sqrt(share)
    lanes.index[i] = index
    lanes.deepest[i] = 0
    s[_X_IN], s[_Y_IN] = s[_X], s[_Y]
    lanes.slab[i] = -1
    find_pixel(i, sample, lanes)
    step_down(i, sample, lanes)
    medium = sample.media[lanes.slab[i]]
    s[_LEFT] = between(tables.clock_of_row[medium], float32(begin.row * tables.scales[medium, 1]))
    s[_PATH] = on_clock(tables.clock, medium, s[_LEFT], 0)


@_jit
def find_pixel(i: int, sample: Sample, lanes: Lanes) -> None:
    """Pixel of the map below lane i's electron, and its walls; the outermost pixels go on for ever."""
    height, width = sample.bottoms.shape[0], sample.bottoms.shape[1]
    s = lanes.state[i]
    iy = min(max(int64(np.floor(s[_Y] / sample.pixel_nm)), int64(0)), int64(height - 1))
    ix = min(max(int64(np.floor(s[_X] / sample.pixel_nm)), int64(0)), int64(width - 1))
    lanes.iy[i], lanes.ix[i] = iy, ix
    set_walls(i, sample, lanes)


@_jit
def set_walls(i: int, sample: Sample, lanes: Lanes) -> None:
    """Walls of lane i's pixel [nm]."""
    height, width = sample.bottoms.shape[0], sample.bottoms.shape[1]
    s, iy, ix = lanes.state[i], lanes.iy[i], lanes.ix[i]
    s[_WEST] = -_FAR if ix == 0 else ix * sample.pixel_nm
    s[_EAST] = _FAR if ix == width - 1 else (ix + 1) * sample.pixel_nm
    s[_SOUTH] = -_FAR if iy == 0 else iy * sample.pixel_nm
    s[_NORTH] = _FAR if iy == height - 1 else (iy + 1) * sample.pixel_nm


@_jit
def set_slab(i: int, slab: int, sample: Sample, lanes: Lanes) -> None:
    """Put lane i into a slab of its column."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    s = lanes.state[i]
    lanes.slab[i] = slab
    if slab > lanes.deepest[i]:
        if lanes.deepest[i] < faces.size - 2:
            s[_X_IN], s[_Y_IN] = s[_X], s[_Y]
        lanes.deepest[i] = slab
    s[_TOP] = faces[slab - 1] if slab > 0 else float32(0)
    s[_BOTTOM] = faces[slab]


@_jit
def step_down(i: int, sample: Sample, lanes: Lanes) -> None:
    """Next slab below that has a thickness."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    slab = lanes.slab[i] + 1
    while slab < faces.size - 1 and faces[slab] <= (faces[slab - 1] if slab > 0 else float32(0)):
        slab += 1
    set_slab(i, slab, sample, lanes)


@_jit
def step_up(i: int, sample: Sample, lanes: Lanes) -> bool:
    """Next slab above that has a thickness; False where there is only vacuum."""
    faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
    slab = lanes.slab[i] - 1
    while slab >= 0 and faces[slab] <= (faces[slab - 1] if slab > 0 else float32(0)):
        slab -= 1
    if slab >= 0:
        set_slab(i, slab, sample, lanes)
    return slab >= 0


@_jit
def distance(at: np.float32, along: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """Path to the nearer of two parallel walls [nm]."""
    if along > float32(0):
        return max((high - at) / along, float32(0))
    return max((low - at) / along, float32(0)) if along < float32(0) else float32(_FAR)


@_jit
def cross(i: int, tables: Tables, sample: Sample, lanes: Lanes, out: np.ndarray) -> bool:
    """Take lane i to the face or wall on its way; True when the electron leaves the sample."""
    s = lanes.state[i]
    slab, medium = lanes.slab[i], sample.media[lanes.slab[i]]
    to_face = distance(s[_Z], s[_W], s[_TOP], s[_BOTTOM])
    to_x, to_y = float32(_FAR), float32(_FAR)
    if slab < sample.media.size - 1:
        to_x = distance(s[_X], s[_U], s[_WEST], s[_EAST])
        to_y = distance(s[_Y], s[_V], s[_SOUTH], s[_NORTH])
    way = min(to_face, to_x, to_y)
    s[_X] += s[_U] * way
    s[_Y] += s[_V] * way
    path = max(s[_PATH] - way, float32(0))
    left = between(tables.clock_of_path[medium], float32(np.sqrt(path) * tables.scales[medium, 2]))
    row = on_clock(tables.clock, medium, left, 1)
    if way == to_face:
        down = s[_W] > float32(0)
        s[_Z] = s[_BOTTOM] if down else s[_TOP]
        if not down and slab == sample.media.size - 1:
            find_pixel(i, sample, lanes)
        if down:
            step_down(i, sample, lanes)
        elif not step_up(i, sample, lanes):
            leave(i, row, lanes, out)
            return True
    else:
        s[_Z] += s[_W] * way
        if way == to_x:
            lanes.ix[i] += 1 if s[_U] > float32(0) else -1
            s[_X] = s[_EAST] if s[_U] > float32(0) else s[_WEST]
        else:
            lanes.iy[i] += 1 if s[_V] > float32(0) else -1
            s[_Y] = s[_NORTH] if s[_V] > float32(0) else s[_SOUTH]
        set_walls(i, sample, lanes)
        faces = sample.bottoms[lanes.iy[i], lanes.ix[i]]
        other = 0
        while faces[other] <= s[_Z]:
            other += 1
        set_slab(i, other, sample, lanes)
    now = sample.media[lanes.slab[i]]
    if now != medium:
        left = between(tables.clock_of_row[now], row * float32(tables.scales[now, 1]))
    s[_LEFT] = left
    s[_PATH] = on_clock(tables.clock, now, left, 0)
    return False


@_jit
def leave(i: int, row: np.float32, lanes: Lanes, out: np.ndarray) -> None:
    """Write down an electron that leaves through the surface (row >= 0) or stays (row -1)."""
    s = lanes.state[i]
    result = out[lanes.index[i]]
    result[ENERGY_ROW] = row
    result[COSINE] = -s[_W]
    result[X] = s[_X]
    result[Y] = s[_Y]
    result[DEEPEST] = float32(lanes.deepest[i])
    result[X_IN] = s[_X_IN]
    result[Y_IN] = s[_Y_IN]


@_jit
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
            u, v, w = state[i, _U], state[i, _V], state[i, _W]
            slab = slabs[i]
            medium = media[slab]
            word, other = mixed(random[i] + _GOLDEN), mixed(random[i] + _TWICE_GOLDEN)
            random[i] += _TWICE_GOLDEN
            left = max(state[i, _LEFT] - minus_log(word) * rates[medium], float32(0))
            point = min(int64(left), int64(CLOCK - 1))
            share = left - float32(point)
            path = clock[medium, point, 0] + share * (clock[medium, point + 1, 0] - clock[medium, point, 0])
            way = state[i, _PATH] - path
            x, y, z = state[i, _X] + u * way, state[i, _Y] + v * way, state[i, _Z] + w * way
            over = False
            if (state[i, _TOP] <= z) & (z < state[i, _BOTTOM]) and (
                slab == deepest_slab
                or (state[i, _WEST] <= x) & (x < state[i, _EAST]) & (state[i, _SOUTH] <= y) & (y < state[i, _NORTH])
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
                    state[i, _X], state[i, _Y], state[i, _Z] = x, y, z
                    state[i, _U], state[i, _V], state[i, _W] = u, v, w
                    state[i, _LEFT], state[i, _PATH] = left, path
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


@_jit
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


@_jit
def move(source: int, target: int, lanes: Lanes) -> None:
    """Copy a lane."""
    lanes.random[target] = lanes.random[source]
    lanes.state[target] = lanes.state[source]
    lanes.index[target] = lanes.index[source]
    lanes.slab[target] = lanes.slab[source]
    lanes.iy[target] = lanes.iy[source]
    lanes.ix[target] = lanes.ix[source]
    lanes.deepest[target] = lanes.deepest[source]
