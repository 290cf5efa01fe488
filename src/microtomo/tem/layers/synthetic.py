"""Synthetic bright-field micrographs of a thin overcoat between granular metal and a capping layer.

What varies is what the head-overcoat paper names: slope, curvature, fuzzy boundaries, images too dark or too light, a
scale-bar sticker, an extra crossing layer, and three dates that differ in the overcoat's composition. The orthogonal
thickness is known exactly, because each edge is an offset along the normal of the centre line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.contrast import Recipe, intensity
from microtomo.tem.layers.geometry import Layer, coverage, grid, three_line
from microtomo.tem.layers.random_fields import generator, log_uniform, profile
from microtomo.tem.layers.recording import Recording, record

Range = tuple[float, float]

SMALLEST = 64
"""Pixels along the side of the smallest image with a measurable layer."""

_LEAST_NM = 0.3  # no line is thinner: two atomic layers


@dataclass(frozen=True)
class Conditions:
    """What overcoat images are drawn from: ranges (uniform; * log-uniform) and probabilities.

    ``thickness_nm``: the layer's mean; ``tilt_degrees`` and ``sagitta`` (share of the image's side) of either sign;
    ``roughness_nm``: deviation of each edge, with ``correlation_nm`` and ``hurst`` exponent; ``conformal``:
    correlation of the two edges; ``fuzziness_nm``: deviation of the error-function-like interface; ``dates``: which
    composition sets (0, 1, 2); ``dark``, ``light``, ``sticker``, ``crossing``: probabilities of the cases that the
    paper shows; ``bare``: probability of an image beside the layer, which shows none of it.
    """

    size: int = 256
    pixel_nm: Range = (0.07, 0.2)  # *
    thickness_nm: Range = (1.0, 5.0)
    tilt_degrees: Range = (0.0, 30.0)
    sagitta: Range = (0.0, 0.04)
    roughness_nm: Range = (0.03, 0.2)  # *
    correlation_nm: Range = (0.4, 2.0)  # *
    hurst: Range = (0.5, 1.0)
    conformal: Range = (0.0, 0.7)
    fuzziness_nm: Range = (0.05, 0.35)  # *
    dates: tuple[int, ...] = (0, 1, 2)
    dark: float = 0.06
    light: float = 0.06
    sticker: float = 0.15
    crossing: float = 0.15
    bare: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "dates" and isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise MicrotomoError(f"{item.name} {value}: give a range (least, most)")
        if self.size < SMALLEST or min(self.pixel_nm[0], self.thickness_nm[0], self.correlation_nm[0]) <= 0:
            raise MicrotomoError(f"size must be at least {SMALLEST}; pixel, thickness and correlation positive")
        if not self.dates or not set(self.dates) <= {0, 1, 2}:
            raise MicrotomoError(f"dates {self.dates}: choose from 0, 1 and 2")
        if self.tilt_degrees[1] > 45 or self.sagitta[1] > 0.1:
            raise MicrotomoError("tilt_degrees goes to 45 and sagitta to 0.1 at most: the layer is roughly upright")


@dataclass(frozen=True)
class Overcoat:
    """A synthetic image and the truth about its layer.

    ``image`` (y, x) float32 of grey levels 0..1 in steps of 1/255; ``cover`` (y, x) float32, the share of each pixel
    inside the layer; ``mask`` where that is at least half; ``mean_nm`` and ``sd_nm`` of the orthogonal thickness over
    the lines wholly in view; ``layer_nm`` the mean of the layer that the image shows a piece of; ``three_line_nm``
    the biased mean of three lines along the rows (NaN where no row has the whole layer); ``date`` its composition.
    All are NaN where the image shows no layer.
    """

    image: np.ndarray
    cover: np.ndarray
    pixel_nm: float
    mean_nm: float
    sd_nm: float
    layer_nm: float
    three_line_nm: float
    tilt_degrees: float
    date: int
    recording: Recording
    layer: Layer

    @property
    def mask(self) -> np.ndarray:
        """Pixels (y, x), bool, of which at least half lies in the layer."""
        return self.cover >= 0.5


def overcoat(seed: int, index: int = 0, conditions: Conditions | None = None) -> Overcoat:
    """Sample ``index`` of the set of ``seed``: the same bytes whenever and in whatever order it is asked for.

    Raises MicrotomoError for a seed or index out of range.
    """
    c = conditions or Conditions()
    rng = generator(seed, index)
    pixel_nm = log_uniform(rng, c.pixel_nm)
    thickness_nm = rng.uniform(*c.thickness_nm)
    layer = _layer(c, thickness_nm, pixel_nm, rng)
    if rng.random() < c.bare:
        layer = replace(layer, centre=(layer.centre[0], 4.0 * c.size * rng.choice((-1, 1))))
    date = int(c.dates[rng.integers(len(c.dates))])
    recipe = Recipe.draw(date, pixel_nm, min(log_uniform(rng, c.fuzziness_nm), 0.25 * thickness_nm), rng)
    lit = intensity((c.size, c.size), layer, recipe, c.crossing, rng)
    cover = coverage(*layer.distances((c.size, c.size)))
    recording = Recording.draw(c.dark, c.light, c.sticker, rng)
    image = record(lit, cover, recording, pixel_nm, rng)
    mean, sd = layer.thickness((c.size, c.size))
    return Overcoat(
        image, cover, pixel_nm, mean * pixel_nm, sd * pixel_nm, thickness_nm, three_line(cover) * pixel_nm,
        float(np.degrees(layer.tilt)), date, recording, layer,
    )  # fmt: skip


def _layer(c: Conditions, thickness_nm: float, pixel_nm: float, rng: np.random.Generator) -> Layer:
    """A tilted, bent layer whose two edges are rough, through the middle of the image."""
    half = 0.5 * c.size
    tilt = np.radians(rng.uniform(*c.tilt_degrees)) * rng.choice((-1, 1))
    sagitta = rng.uniform(*c.sagitta) * c.size * rng.choice((-1, 1))
    swing = rng.uniform(*c.sagitta) * c.size * rng.choice((-1, 1))
    bend = (sagitta / half**2, 0.5 * swing / half**3)
    # the middle keeps the layer in view for most of its length
    room = max(0.0, 0.35 - 0.5 * abs(np.tan(tilt)))
    centre = (half - 0.5, half - 0.5 + c.size * rng.uniform(-room, room) - 0.3 * sagitta)
    along, arc = grid(3.0 * c.size, bend)
    correlation = log_uniform(rng, c.correlation_nm) / pixel_nm
    hurst, conformal = rng.uniform(*c.hurst), rng.uniform(*c.conformal)
    step = arc[-1] / (len(arc) - 1)
    one, other = (profile(len(arc), correlation / step, hurst, rng) for _ in range(2))
    other = conformal * one + np.sqrt(1 - conformal**2) * other
    rough = [min(log_uniform(rng, c.roughness_nm), 0.1 * thickness_nm) / pixel_nm for _ in range(2)]
    even = np.linspace(0, arc[-1], len(arc))
    low = -0.5 * thickness_nm / pixel_nm + rough[0] * np.interp(arc, even, one)
    high = 0.5 * thickness_nm / pixel_nm + rough[1] * np.interp(arc, even, other)
    return Layer(centre, float(tilt), bend, along, arc, low, np.maximum(high, low + _LEAST_NM / pixel_nm))
