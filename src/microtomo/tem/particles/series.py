"""Time series of a coarsening sample: small particles shrink and vanish, large ones grow.

Source: Lifshitz & Slyozov, J. Phys. Chem. Solids 19 (1961) 35; Wagner, Z. Elektrochem. 65 (1961) 581: where diffusion
limits the exchange, dr/dt = K / r^2 (r / r_c - 1), and r_c is the mean radius as the volume is conserved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.synthetic import Conditions, ParticleImage, Sample, exposed, generator, microscope, sample

_STEPS = 20  # of the integration between two frames
_FIRST_FRAME = 16  # stream of the random numbers of frame 0: lower ones belong to single images


def coarsened(radii: np.ndarray, rate: float) -> np.ndarray:
    """Radii (n,) after ``rate`` = K t, in cubes of the radii's unit: those that dissolve become 0.

    The total volume stays what it was.
    """
    volume = np.asarray(radii, dtype=np.float64) ** 3
    total = volume.sum()
    for _ in range(_STEPS):
        alive = volume > 0
        if alive.sum() < 2:
            break
        r = np.cbrt(volume[alive])
        volume[alive] += 3 * rate / _STEPS * (r / r.mean() - 1)
        volume = np.maximum(volume, 0)
        volume *= total / volume.sum()
    return np.asarray(np.cbrt(volume))


def time_series(
    seed: int,
    frames: int,
    index: int = 0,
    conditions: Conditions | None = None,
    *,
    rate: float = 0.05,
    drift_px: float = 0.5,
    hop_px: float = 0.1,
) -> Iterator[ParticleImage]:
    """Frames of sample ``index`` of the set of ``seed``, one after the other: the same bytes for the same frame.

    ``rate``: K t between two frames over the cube of the mean radius at the start; ``drift_px`` and ``hop_px``:
    deviations of the whole view's and of each particle's step [px]. ``numbers`` of the frames name the particles.
    Raises MicrotomoError for fewer than one frame.
    """
    if frames < 1:
        raise MicrotomoError(f"frames {frames}: give at least 1")
    c = conditions or Conditions()
    rng = generator(seed, index)
    start, settings = sample(c, rng), microscope(c, rng)
    radii = start.particles.diameters() / 2
    speed = rate * float(radii.mean()) ** 3
    now, shift = start, np.zeros(2)
    for frame in range(frames):
        own = generator(seed, index, _FIRST_FRAME + frame)
        if frame:
            now = _aged(now, speed, hop_px, own)
            shift = shift + own.normal(0, drift_px, 2)
        yield exposed(_shifted(now, shift), settings, own)


def _aged(of: Sample, speed: float, hop_px: float, rng: np.random.Generator) -> Sample:
    before = of.particles.diameters() / 2
    after = coarsened(before, speed)
    left = after > 0
    ratio = (after / before)[left]
    bodies = of.particles.chosen(left)
    bodies = replace(
        bodies,
        centres=bodies.centres + rng.normal(0, hop_px, bodies.centres.shape),
        radii=bodies.radii * ratio[:, None],
        heights=bodies.heights * ratio,
    )
    return replace(of, particles=bodies, strength=of.strength[left], numbers=of.numbers[left])


def _shifted(of: Sample, shift: np.ndarray) -> Sample:
    """The sample under a view that has drifted; what comes in at the border is what lay there last."""
    from scipy.ndimage import shift as moved

    support = moved(of.support, shift, order=1, mode="nearest")
    return replace(of, support=support, particles=of.particles.moved(float(shift[0]), float(shift[1])))
