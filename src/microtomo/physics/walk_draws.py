"""Random draws and table look-ups of the compiled walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy import float32, int32, int64, uint64

from microtomo.physics.walk_tables import CLOCK, OCTAVES, PER_OCTAVE

_F = TypeVar("_F", bound=Callable[..., Any])
jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, error_model="numpy")

_MANTISSA_BITS = 23  # of a float32 (IEEE 754)
_BITS_PER_OCTAVE = PER_OCTAVE.bit_length() - 1
_BIN_SHIFT = _MANTISSA_BITS - _BITS_PER_OCTAVE
_LOWEST_BIN = (127 - OCTAVES) << _BITS_PER_OCTAVE  # float32 exponent of 2^-OCTAVES
_FRACTION = 2.0**-_BIN_SHIFT


@jit
def mixed(state: np.uint64) -> np.uint64:
    """Output of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) for one state."""
    a = (state ^ (state >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    b = (a ^ (a >> uint64(27))) * uint64(0x94D049BB133111EB)
    return b ^ (b >> uint64(31))


@jit
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


@jit
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


@jit
def bin_of_tail(word: np.uint64) -> tuple[np.int64, np.float32]:
    """Bin of a 24-bit tail probability in the deflection table and the place in it, straight from the float's bits."""
    tail = (float32(uint64(word & uint64(0xFFFFFF))) + float32(0.5)) * float32(2**-24)
    bits = float32(tail).view(np.int32)
    position = int64(bits >> int32(_BIN_SHIFT)) - int64(_LOWEST_BIN)
    return position, float32(bits & int32((1 << _BIN_SHIFT) - 1)) * float32(_FRACTION)


@jit
def between(table: np.ndarray, place: np.float32) -> np.float32:
    """Linear interpolation in a table of even steps."""
    k = min(max(int64(place), int64(0)), int64(table.size - 2))
    return float32(table[k] + (place - float32(k)) * (table[k + 1] - table[k]))


@jit
def on_clock(table: np.ndarray, medium: int, place: np.float32, column: int) -> np.float32:
    """Residual path, energy row or farthest depth at a place on a medium's collision clock."""
    k = min(int64(place), int64(CLOCK - 1))
    low = table[medium, k, column]
    return float32(low + (place - float32(k)) * (table[medium, k + 1, column] - low))
