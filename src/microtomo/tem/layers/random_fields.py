"""Random numbers, fields and profiles of synthetic cross-sections, each from one Philox key."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from microtomo.errors import MicrotomoError


def generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of sample ``index`` of the set of ``seed``: Philox with the two as its key.

    Raises MicrotomoError where either is outside 0..2^63 - 1.
    """
    if not (0 <= seed < 2**63 and 0 <= index < 2**63):
        raise MicrotomoError(f"seed {seed}, index {index}: give whole numbers from 0 to 2^63 - 1")
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))


def log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between two limits."""
    return float(np.exp(rng.uniform(*np.log(between))))


def field(shape: tuple[int, int], scale_px: float | tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A Gaussian random field (y, x), float32, of mean 0 and deviation 1, periodic.

    Its correlation is exp(-r^2 / (2 scale^2)), with one scale [px] or one along y and one along x.
    """
    along_y, along_x = scale_px if isinstance(scale_px, tuple) else (scale_px, scale_px)
    noise = rng.standard_normal(shape, dtype=np.float32)
    spectrum = (
        fft.rfft2(noise)
        * _filter(shape[0], float(along_y))[:, None]
        * _filter(shape[1], float(along_x))[None, : shape[1] // 2 + 1]
    )
    return np.asarray(fft.irfft2(spectrum, s=shape))


def profile(length: int, correlation_px: float, hurst: float, rng: np.random.Generator) -> np.ndarray:
    """A random profile (length,) of expected mean 0 and deviation 1: self-affine below ``correlation_px``.

    Its power at wave number k [rad/px] goes as 1 / (1 + (k correlation)^2)^(1/2 + hurst), the usual form of line-edge
    roughness (Palasantzas, Phys. Rev. B 48 (1993) 14472, for k in one dimension). The profile is part of a periodic
    one that is longer by eight correlations.
    """
    whole = fft.next_fast_len(int(length + max(length, 8 * correlation_px)), real=True)
    power = (1 + (2 * np.pi * fft.rfftfreq(whole) * correlation_px) ** 2) ** (-0.5 - hurst)
    transfer = np.sqrt(power * whole / (2 * power.sum() - power[0]))  # both signs of k but for 0
    return np.asarray(fft.irfft(fft.rfft(rng.standard_normal(whole)) * transfer, n=whole)[:length])


@lru_cache(maxsize=256)
def _filter(pixels: int, scale_px: float) -> np.ndarray:
    """Transfer (pixels,) of the Gaussian that gives white noise this correlation, at unit deviation."""
    k = 2 * np.pi * fft.fftfreq(pixels)
    transfer = np.exp(-0.25 * (k * scale_px) ** 2)
    return np.asarray(transfer / np.sqrt(np.mean(transfer**2)), dtype=np.float32)
