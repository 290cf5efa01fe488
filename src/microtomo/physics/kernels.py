"""Compiled kernels for the processor: counter-based normal numbers and the attenuation model without gradients.

Every function is elementwise float32 arithmetic without a call into a mathematics library and without fast-math,
so that a seed gives the same bits whatever the machine, the thread or the neighbouring pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy import float32, int32, uint32, uint64

_F = TypeVar("_F", bound=Callable[..., Any])
_jit: Callable[[_F], _F] = numba.njit(cache=True, nogil=True, error_model="numpy")
_LANES = 512  # values handled together: small enough for the first-level cache, long enough for vector units


def counter_normals(count: int, seed: int) -> np.ndarray:
    """``count`` standard normal numbers, float32, that depend on ``seed`` (0..2^64 - 1) alone.

    Philox-4x32-10 (Salmon et al., SC11) with the seed as key, then Box & Muller (1958). |z| stays below 6.7.
    """
    blocks = -(-count // (4 * _LANES))
    out = np.empty((blocks, 4, _LANES), dtype=np.float32)
    _fill_normals(out, np.uint64(seed))
    return out.reshape(-1)[:count]


def philox(counter: np.ndarray, seed: int) -> np.ndarray:
    """Philox-4x32-10 of 128-bit counters (4, n) uint32 under a 64-bit key: (4, n) uint32."""
    lanes = counter.astype(np.uint64)
    _philox_rounds(lanes[0], lanes[1], lanes[2], lanes[3], np.uint64(seed))
    return lanes.astype(np.uint32)


@_jit
def _philox_rounds(c0: np.ndarray, c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, key: np.uint64) -> None:
    word = uint64(0xFFFFFFFF)
    half = uint64(32)
    k0 = key & word
    k1 = key >> half
    for _ in range(10):
        for i in range(c0.size):
            p0 = c0[i] * uint64(0xD2511F53)
            p1 = c2[i] * uint64(0xCD9E8D57)
            c0[i] = (p1 >> half) ^ c1[i] ^ k0
            c1[i] = p1 & word
            c2[i] = (p0 >> half) ^ c3[i] ^ k1
            c3[i] = p0 & word
        k0 = (k0 + uint64(0x9E3779B9)) & word
        k1 = (k1 + uint64(0xBB67AE85)) & word


@_jit
def _fill_normals(out: np.ndarray, key: np.uint64) -> None:
    lanes = out.shape[2]
    c = np.empty((4, lanes), dtype=np.uint64)
    for block in range(out.shape[0]):
        for i in range(lanes):
            c[0, i] = uint64(block * lanes + i) & uint64(0xFFFFFFFF)
            c[1, i] = uint64(block * lanes + i) >> uint64(32)
            c[2, i] = uint64(0)
            c[3, i] = uint64(0)
        _philox_rounds(c[0], c[1], c[2], c[3], key)
        for pair in range(2):
            radius, angle = c[2 * pair], c[2 * pair + 1]
            one, other = out[block, 2 * pair], out[block, 2 * pair + 1]
            for i in range(lanes):
                one[i], other[i] = _box_muller(uint32(radius[i]), uint32(angle[i]))


@_jit
def _box_muller(u: np.uint32, v: np.uint32) -> tuple[np.float32, np.float32]:
    """Two normal numbers from two 32-bit words: the two top bits of v give the quadrant, the others the angle."""
    radius = np.sqrt(float32(-2) * _ln((float32(u) + float32(0.5)) * float32(2**-32)))
    radius = -radius if v & uint32(0x80000000) else radius
    angle = float32(int32(v & uint32(0x3FFFFFFF)) - int32(0x20000000)) * float32(np.pi * 2**-31)
    q = angle * angle
    sine = angle * (float32(1) - q * (float32(1 / 6) - q * (float32(1 / 120) - q * float32(1 / 5040))))
    cosine = float32(1) - q * (float32(1 / 2) - q * (float32(1 / 24) - q * (float32(1 / 720) - q * float32(1 / 40320))))
    swap = v & uint32(0x40000000)
    return radius * (sine if swap else cosine), radius * (cosine if swap else sine)


@_jit
def _ln(x: np.float32) -> np.float32:
    """Natural logarithm of a normal positive number: exponent, and 2 artanh((m - 1)/(m + 1)) of the mantissa."""
    bits = int32(float32(x).view(np.int32) - int32(0x3F3504F3))
    exponent = float32(int32(bits >> int32(23)))
    m = int32(int32(bits & int32(0x007FFFFF)) + int32(0x3F3504F3)).view(np.float32)
    s = (m - float32(1)) / (m + float32(1))
    q = s * s
    series = float32(1) + q * (float32(1 / 3) + q * (float32(1 / 5) + q * (float32(1 / 7) + q * float32(1 / 9))))
    return exponent * float32(np.log(2)) + float32(2) * s * series


@_jit
def _exp(x: np.float32) -> np.float32:
    """Exponential for x <= 88; 0 below -87."""
    t = x * float32(1 / np.log(2))
    whole = (max(t, float32(-126)) + float32(3 * 2**22)) - float32(3 * 2**22)
    f = (t - whole) * float32(np.log(2))
    series = float32(1 / 24) + f * (float32(1 / 120) + f * (float32(1 / 720) + f * float32(1 / 5040)))
    series = float32(1) + f * (float32(1) + f * (float32(1 / 2) + f * (float32(1 / 6) + f * series)))
    power = int32(int32(int32(whole) + int32(127)) << int32(23)).view(np.float32)
    return float32(0) if t < float32(-126) else series * power


@_jit
def fill_signal(
    thickness: np.ndarray,
    reach: np.ndarray,
    rate: np.ndarray,
    a: np.ndarray,
    level: np.ndarray,
    published: bool,
    out: np.ndarray,
) -> None:
    """The recursion of :func:`microtomo.physics.attenuation.backscatter`, all float32.

    ``thickness`` (l, pixel) [nm]; ``reach`` (e,) = 74 E^1.55 of the beam; per layer ``rate`` = rho^0.91,
    ``a`` = a(Z) and ``level`` = b_k / b_0; ``out`` (e, pixel). A layer turns reach R into R exp(-1.55 psi^0.45).
    """
    layers, pixels = thickness.shape
    left = np.empty(_LANES, dtype=np.float32)
    through = np.empty(_LANES, dtype=np.float32)
    signal = np.empty(_LANES, dtype=np.float32)
    for start in range(0, pixels, _LANES):
        lanes = min(_LANES, pixels - start)
        for e in range(reach.size):
            left[:] = reach[e]
            through[:] = float32(1)
            signal[:] = float32(0)
            for k in range(layers - 1, -1, -1):
                depth = thickness[k, start : start + lanes]
                _pass_layer(depth, rate[k], a[k], level[k], published, k > 0, left, through, signal)
            row = out[e, start : start + lanes]
            for i in range(lanes):
                row[i] = float32(1) + (level[0] - float32(1)) * signal[i] if published else signal[i] + through[i]


@_jit
def _pass_layer(
    depth: np.ndarray,
    rate: np.float32,
    a: np.float32,
    level: np.float32,
    published: bool,
    below: bool,
    reach: np.ndarray,
    through: np.ndarray,
    signal: np.ndarray,
) -> None:
    """One layer: updates remaining reach, transmitted share and signal (``published``: phi of the lowest layer)."""
    for i in range(depth.size):
        m = depth[i] * rate
        gap = reach[i] - m
        psi = min(m / max(gap, float32(1e-6)), float32(1e4))
        passed = _exp(-a * psi) if gap > float32(0) else float32(0)
        scattered = (float32(1) - passed) * through[i]
        if published:
            signal[i] = scattered if depth[i] > float32(0) else signal[i]
        else:
            signal[i] += level * scattered
        through[i] *= passed
        if below:
            lost = _exp(float32(0.45) * _ln(max(psi, float32(1e-12)))) if psi > float32(1e-12) else float32(0)
            reach[i] = reach[i] * _exp(float32(-1.55) * lost) if gap > float32(0) else float32(0)
