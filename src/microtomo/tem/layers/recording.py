"""From intensity to a stored image: dose, blur, gamma, brightness, exposure errors, sticker, eight bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from microtomo.tem.layers.random_fields import field, log_uniform

Exposure = Literal["usual", "dark", "light"]

_PLACES = 6  # tries to put the sticker where it hides none of the layer


@dataclass(frozen=True)
class Recording:
    """How one image was recorded: electrons a pixel, blur [px], gamma, black and white of the grey scale."""

    dose: float
    blur_px: float
    gamma: float
    black: float
    white: float
    shading: float
    exposure: Exposure
    sticker: bool

    @classmethod
    def draw(cls, dark: float, light: float, sticker: float, rng: np.random.Generator) -> Recording:
        """A recording; ``dark``, ``light`` and ``sticker`` are probabilities."""
        which = rng.random()
        exposure: Exposure = "dark" if which < dark else "light" if which < dark + light else "usual"
        black, white = {
            "usual": (rng.uniform(0.0, 0.15), rng.uniform(0.75, 1.0)),
            "dark": (rng.uniform(0.0, 0.05), rng.uniform(0.16, 0.35)),
            "light": (rng.uniform(0.5, 0.7), rng.uniform(1.0, 1.25)),
        }[exposure]
        return cls(
            log_uniform(rng, (60.0, 2000.0)),
            rng.uniform(0.3, 1.0),
            float(np.exp(rng.uniform(-0.45, 0.45))),
            black,
            white,
            rng.uniform(0.0, 0.1),
            exposure,
            bool(rng.random() < sticker),
        )


def record(
    intensity: np.ndarray, cover: np.ndarray, recording: Recording, pixel_nm: float, rng: np.random.Generator
) -> np.ndarray:
    """Grey levels (y, x), float32 in 0..1 in steps of 1/255, of an intensity (y, x) relative to the beam.

    ``cover`` (y, x) is where the layer lies: the sticker goes where it hides none of it.
    """
    lit = intensity * (1 + recording.shading * field(intensity.shape, len(intensity) / 3, rng))
    counts = rng.poisson(np.maximum(lit, 0) * recording.dose).astype(np.float32) / np.float32(recording.dose)
    seen = gaussian_filter(counts, recording.blur_px, mode="mirror")
    scale = np.clip(seen / np.percentile(seen, 99.0), 0, 1.2) ** recording.gamma
    grey = recording.black + (recording.white - recording.black) * scale
    if recording.sticker:
        grey = _with_sticker(grey, cover, pixel_nm, rng)
    return np.asarray(np.round(np.clip(grey, 0, 1) * 255) / np.float32(255), dtype=np.float32)


def _with_sticker(grey: np.ndarray, cover: np.ndarray, pixel_nm: float, rng: np.random.Generator) -> np.ndarray:
    """The image with a box that has a scale bar and blocks as wide as letters, or as it was where it fits nowhere."""
    high, wide = int(len(grey) * rng.uniform(0.07, 0.16)), int(grey.shape[1] * rng.uniform(0.2, 0.42))
    paper = float(rng.random() < 0.5)
    for _ in range(_PLACES):
        top = int(rng.choice((0, len(grey) - high)))
        left = int(rng.integers(0, grey.shape[1] - wide))
        box = slice(top, top + high), slice(left, left + wide)
        if not cover[box].any():
            break
    else:
        return grey
    sticker = np.full((high, wide), paper, dtype=np.float32)
    lengths = [n for n in (1, 2, 5, 10, 20, 50) if n / pixel_nm < 0.8 * wide]
    bar = int((lengths[-1] if lengths else 0.5) / pixel_nm)
    thick = max(1, high // 8)
    sticker[-2 * thick - 1 : -thick - 1, (wide - bar) // 2 : (wide + bar) // 2] = 1 - paper
    letter = max(3, high // 4)
    rows = slice(thick + 1, thick + 1 + max(3, high // 2))
    for place in range(wide // 4, wide - wide // 4 - letter, letter + max(1, letter // 3)):
        block = rng.random((rows.stop - rows.start, letter)) < 0.55
        sticker[rows, place : place + letter] = np.where(block, 1 - paper, paper)[: len(sticker[rows])]
    whole = grey.copy()
    whole[box] = sticker
    return whole
