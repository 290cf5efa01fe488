"""Synthetic images of supported nanoparticles with exact outlines, in annular dark field and in bright field.

A sample is drawn from :class:`Conditions`; the truth is the outlines themselves (:class:`Bodies`), so that areas and
diameters are known to far less than a pixel. Outlines are projections: particles that overlap keep their whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.tem.particles import imaging
from microtomo.tem.particles.outlines import ANGLES, Bodies, Drawing, draw
from microtomo.tem.particles.placement import place_particles
from microtomo.tem.particles.supports import heaped, support

Range = tuple[float, float]
Mode = Literal["haadf", "bf"]
SMALLEST, LARGEST = 32, 8192
"""Pixels along a side of an image."""


@dataclass(frozen=True)
class Conditions:
    """What samples are drawn from: ranges (uniform; * log-uniform), of lengths in pixels where they end in ``_px``.

    ``size``: pixels (y, x); ``modes``: which of the two are drawn, at equal odds; ``diameter_px``: the median of
    the particles of one image; ``spread``: their log-normal deviation; ``covered``: share of the image under
    particles; ``contrast``: signal of the median particle over that of the support; ``touching``: share of particles
    set against another one; ``dose_per_a2``: electrons per square angstrom; ``blur_px``: deviation of the probe;
    ``grown``: how many times larger than the rest a few particles are; ``heaped``: by how much the logarithm of the
    support's thickness varies from place to place, beside its own form.
    """

    size: tuple[int, int] = (512, 512)
    modes: tuple[Mode, ...] = ("haadf", "bf")
    pixel_nm: Range = (0.05, 1.0)  # *
    diameter_px: Range = (5.0, 40.0)  # *
    spread: Range = (0.12, 0.5)
    covered: Range = (0.006, 0.25)  # *
    contrast: Range = (0.15, 4.0)  # *
    touching: Range = (0.0, 0.4)
    dose_per_a2: Range = (80.0, 2e4)  # *
    blur_px: Range = (0.3, 1.6)
    grown: Range = (1.8, 3.5)
    heaped: Range = (0.0, 0.0)
    most: int = 4000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("size", "modes", "most") and not (len(value) == 2 and 0 <= value[0] <= value[1]):
                raise MicrotomoError(f"{field.name} {value}: give a range (least, most), neither negative")
        if not all(SMALLEST <= side <= LARGEST for side in self.size):
            raise MicrotomoError(f"size {self.size}: give rows and columns from {SMALLEST} to {LARGEST}")
        if not self.modes or not set(self.modes) <= {"haadf", "bf"}:
            raise MicrotomoError(f"modes {self.modes}: choose haadf, bf or both")
        for name in ("pixel_nm", "diameter_px", "covered", "contrast", "dose_per_a2"):
            if getattr(self, name)[0] <= 0:
                raise MicrotomoError(f"{name} {getattr(self, name)}: give numbers above 0")


@dataclass(frozen=True)
class Sample:
    """What lies under the beam: the support (y, x) and the particles, each with the strength it scatters with.

    ``numbers`` (n,) stay with the particles through a time series; ``optics`` seeds what belongs to the microscope.
    """

    support: np.ndarray
    particles: Bodies
    strength: np.ndarray
    numbers: np.ndarray
    diameter_px: float


@dataclass(frozen=True)
class ParticleImage:
    """A synthetic image and what is on it.

    ``image`` (y, x) counts, float32; ``drawing`` coverage, depth and label of the particles; ``particles`` the
    outlines of all that reach into the image, ``numbers`` (n,) their names through a series, ``border`` (n,) whether
    an outline crosses the image's edge, ``signal_to_noise`` (n,) of each against shot noise and speckle over its own
    area; ``bright`` whether particles are bright.
    """

    image: np.ndarray
    drawing: Drawing
    particles: Bodies
    numbers: np.ndarray
    border: np.ndarray
    signal_to_noise: np.ndarray
    mode: Mode
    pixel_nm: float
    dose_per_a2: float

    @property
    def bright(self) -> bool:
        """Whether particles are brighter than their support."""
        return self.mode == "haadf"

    def diameters_nm(self) -> np.ndarray:
        """Equivalent diameters (n,) [nm] of the whole outlines."""
        return self.particles.diameters() * self.pixel_nm


def particle_image(seed: int, index: int = 0, conditions: Conditions | None = None) -> ParticleImage:
    """Sample ``index`` of the set of ``seed``: the same bytes whenever and in whatever order it is asked for.

    Raises MicrotomoError for a seed or index out of range.
    """
    c = conditions or Conditions()
    rng = generator(seed, index)
    return exposed(sample(c, rng), microscope(c, rng), rng)


def generator(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """Random numbers of one image: Philox with (seed, index) as key and ``stream`` in its counter."""
    if not (0 <= seed < 2**63 and 0 <= index < 2**63):
        raise MicrotomoError(f"seed {seed}, index {index}: give whole numbers from 0 to 2^63 - 1")
    return np.random.Generator(np.random.Philox(key=[seed, index], counter=[0, 0, 0, stream]))


def sample(c: Conditions, rng: np.random.Generator) -> Sample:
    """Support and particles of one sample."""
    diameter = log_uniform(rng, c.diameter_px)
    under = support(c.size, diameter, rng)
    if c.heaped[1]:
        under = heaped(under, rng.uniform(*c.heaped), rng)
    particles = place_particles(
        under,
        diameter,
        spread=rng.uniform(*c.spread),
        covered=log_uniform(rng, c.covered),
        touching=rng.uniform(*c.touching),
        grown=c.grown,
        most=c.most,
        rng=rng,
    )
    strength = np.exp(rng.normal(0, rng.uniform(0.02, 0.3), len(particles)))
    return Sample(under, particles, strength, np.arange(len(particles)), diameter)


@dataclass(frozen=True)
class Microscope:
    """Settings of an exposure: ``level`` signal of the support, ``contrast`` of the median particle over it, blur and
    fringe widths [px], ``speckle`` relative to the particles' signal, ``seed`` of what stays through a series."""

    mode: Mode
    pixel_nm: float
    dose_per_a2: float
    contrast: float
    level: float
    background: float
    blur_px: float
    smear_px: float
    jitter_px: float
    row_noise: float
    speckle: float
    grain_px: float
    fringe: float
    fringe_px: float
    uneven: float
    lattice: float
    period_px: float
    diffracting: float


def microscope(c: Conditions, rng: np.random.Generator) -> Microscope:
    """Settings drawn from the conditions."""
    mode: Mode = c.modes[int(rng.integers(len(c.modes)))]
    dark = mode == "haadf"

    def often(share: float) -> float:
        return float(rng.random() < share)

    return Microscope(
        mode=mode,
        pixel_nm=log_uniform(rng, c.pixel_nm),
        dose_per_a2=log_uniform(rng, c.dose_per_a2),
        contrast=log_uniform(rng, c.contrast),
        level=log_uniform(rng, (0.004, 0.06) if dark else (0.05, 0.5)),
        background=rng.uniform(0, 0.3),
        blur_px=rng.uniform(*c.blur_px),
        smear_px=rng.uniform(0, 0.9),
        jitter_px=often(0.3) * rng.uniform(0, 0.35),
        row_noise=often(0.3) * rng.uniform(0, 0.015),
        speckle=log_uniform(rng, (0.03, 0.8)),
        grain_px=rng.uniform(1.2, 5),
        fringe=often(0.7) * rng.normal(0, 0.5),
        fringe_px=rng.uniform(0.8, 2.5),
        uneven=often(0.8) * rng.uniform(0, 0.3),
        lattice=often(0.25) * rng.uniform(0.05, 0.5),
        period_px=rng.uniform(2.5, 9),
        diffracting=often(0.6) * rng.uniform(0.05, 0.4),
    )


def exposed(of: Sample, m: Microscope, rng: np.random.Generator) -> ParticleImage:
    """The image that the microscope records of a sample."""
    shape = (of.support.shape[0], of.support.shape[1])
    heights = of.particles.heights * of.strength
    if m.mode == "bf":
        # crystals near a zone axis scatter several times as strongly
        heights = heights * np.where(rng.random(len(heights)) < m.diffracting, rng.uniform(1.5, 4, len(heights)), 1)
    bodies = replace(of.particles, heights=heights)
    drawing = draw(bodies, shape)
    metal = drawing.thickness / np.float32(of.diameter_px)
    if m.lattice and len(bodies):
        metal = metal * (1 + m.lattice * imaging.lattice(drawing.label, m.period_px, len(bodies), rng))
    peak = m.level * m.contrast
    electrons = m.dose_per_a2 * 100 * m.pixel_nm**2
    projected = (m.level * of.support + peak * metal).astype(np.float32)
    light = imaging.beam(shape, m.uneven, rng)
    if m.mode == "haadf":
        probe = min(m.blur_px, 0.2 * of.diameter_px)
        background = m.background * m.level
        image = imaging.dark_field(projected * light, probe, electrons, background, m.jitter_px, rng)
        image *= 1 + np.float32(m.row_noise) * rng.standard_normal((shape[0], 1), dtype=np.float32)
        image = _smeared(image, m.smear_px)
        noise = np.sqrt((projected + background) / electrons)
    else:
        grain = m.speckle * (1 - np.exp(-peak)) * np.sqrt(np.minimum(of.support, 1) + 0.02)
        grain_px = min(m.grain_px, 0.4 * of.diameter_px)
        texture = (grain * imaging.speckle(shape, grain_px, rng)).astype(np.float32)
        strongest = 1.2 / max(1.0, float(np.percentile(projected, 99.5)))
        projected *= np.float32(strongest)
        image = imaging.bright_field(
            projected, texture, m.fringe * min(1, 1 / (1 + peak)), m.fringe_px, electrons * light, m.smear_px, rng
        )
        peak *= strongest
        noise = np.hypot(1 / np.sqrt(electrons * np.exp(-projected)), grain * grain_px)
    return _described(image, drawing, of, bodies, peak, noise, m)


def _smeared(image: np.ndarray, width_px: float) -> np.ndarray:
    """The signal chain's memory: noise correlated over neighbours."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, width_px, mode="reflect")) if width_px > 0.3 else image


def _described(
    image: np.ndarray, drawing: Drawing, of: Sample, bodies: Bodies, peak: float, noise: np.ndarray, m: Microscope
) -> ParticleImage:
    """The image with the particles that reach into it, numbered as in the drawing's label."""
    high, wide = image.shape
    boxes = bodies.boxes()
    edge = np.array([-0.5, -0.5, wide - 0.5, high - 0.5])
    here = np.asarray((boxes[:, 2:] > edge[:2]).all(1) & (boxes[:, :2] < edge[2:]).all(1))
    border = np.asarray((boxes[:, :2] < edge[:2]).any(1) | (boxes[:, 2:] > edge[2:]).any(1))
    y, x = np.clip(np.round(bodies.centres), 0, (high - 1, wide - 1)).astype(int).T
    diameters = bodies.diameters()
    # two thirds of the peak is the mean signal over a sphere's disk
    signal = peak * bodies.heights / of.diameter_px * 0.67 * diameters**2 / (diameters**2 + 4 * m.blur_px**2)
    seen = signal / noise[y, x] * diameters * np.sqrt(np.pi) / 2
    names = np.zeros(len(bodies) + 1, dtype=np.int32)
    names[1:][here] = np.arange(1, int(here.sum()) + 1)
    drawing = replace(drawing, label=names[drawing.label])
    return ParticleImage(
        image,
        drawing,
        of.particles.chosen(here),
        of.numbers[here],
        border[here],
        seen[here],
        m.mode,
        m.pixel_nm,
        m.dose_per_a2,
    )


def log_uniform(rng: np.random.Generator, between: Range) -> float:
    """A number whose logarithm is uniform over the range."""
    return float(np.exp(rng.uniform(*np.log(between))))


__all__ = ["ANGLES", "Conditions", "ParticleImage", "exposed", "generator", "microscope", "particle_image", "sample"]
