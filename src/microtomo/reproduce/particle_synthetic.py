"""Particles on synthetic images, where the truth is known to a fraction of a pixel: pixels, sizes, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from microtomo.errors import MicrotomoError, nearest
from microtomo.seeds import TEST_SEED
from microtomo.tem.measurement import Measured, measure
from microtomo.tem.particles.boxes import Agreement, agreement, score
from microtomo.tem.particles.synthetic import Conditions, ParticleImage, particle_image
from microtomo.tem.particles.training_images import SEEN, recorded_image, training_conditions

SIDE_PX = 384
"""Side of the images."""

_FULL = 1.959964  # deviations on each side of a 95 % interval of a normal distribution


@dataclass(frozen=True)
class ImageSet:
    """What images are drawn from, in words too; ``recorded``: whether they pass through what programs do to images
    (contrast curve, clipping, 8 bits) before they are measured."""

    words: str
    conditions: Conditions
    recorded: bool = False


SETS: dict[str, ImageSet] = {
    "clear": ImageSet(
        "contrast .8 to 4, 1,000 to 20,000 electrons a square angstrom, median diameters 9 to 36 px, 5 to 25 % covered",
        Conditions(
            (SIDE_PX, SIDE_PX), diameter_px=(9, 36), covered=(0.05, 0.25), contrast=(0.8, 4), dose_per_a2=(1e3, 2e4)
        ),
    ),
    "training mix": ImageSet("what the network is trained on", training_conditions(SIDE_PX), True),
    "all conditions": ImageSet(
        "the leaderboard's: contrast .15 to 4, 80 to 20,000 electrons a square angstrom, down to what nobody sees",
        Conditions((SIDE_PX, SIDE_PX)),
    ),
}
"""Sets of synthetic images by name, from what can be seen to what cannot."""


@dataclass(frozen=True)
class SizeScore:
    """Scores over a set of images.

    ``f1``, ``precision``, ``recall`` of all pixels; ``seen_f1`` without the pixels of particles whose signal over noise
    is below :data:`SEEN` and which count neither way; ``detection_f1`` and ``count_error`` of such particles as
    wholes; of whole matched ones: ``size_error`` median relative error of a diameter, ``mean_size_error`` error of an
    image's mean diameter (mean over images), ``size_bias``, and ``coverage`` of the 95 % intervals.
    """

    images: int
    particles: int
    f1: float
    precision: float
    recall: float
    seen_f1: float
    detection_f1: float
    count_error: float
    size_error: float
    mean_size_error: float
    size_bias: float
    coverage: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def synthetic_score(
    name: str,
    images: int,
    method: str | None = None,
    seed: int = TEST_SEED,
    progress: Callable[[int], None] = lambda done: None,
    settings: dict[str, object] | None = None,
) -> SizeScore:
    """Measure the first images of a set of :data:`SETS` without any setting. Raises MicrotomoError for another name."""
    if name not in SETS:
        raise MicrotomoError(f"no set of images is called {name!r}; {nearest(name, list(SETS))}")
    chosen, done = SETS[name], []
    for index in range(images):
        made = particle_image(seed, index, chosen.conditions)
        image = recorded_image(made, seed, index) if chosen.recorded else made.image
        done.append(_scored(made, measure(image, "particles", method=method, settings=settings)))
        progress(index + 1)
    return _summed(done)


@dataclass(frozen=True)
class _Scored:
    """One image: pixels and those that can be seen (right, found, true), matches, relative errors and deviations of
    whole particles, and the relative error of their mean diameter, if any."""

    pixels: np.ndarray
    seen: np.ndarray
    pairs: Agreement
    error: np.ndarray
    deviation: np.ndarray
    of_mean: float | None


def _scored(made: ParticleImage, measured: Measured) -> _Scored:
    columns = {c.name: np.asarray(c.values, dtype=float) for c in measured.tables["particles"] if c.name in _READ}
    assert measured.segmentation is not None
    mask, true, faint = measured.segmentation.labels > 0, made.drawing.coverage > _HALF, _faint(made)
    pairs = _pairs(made, columns)
    sizes, found = made.particles.diameters()[pairs.box], columns["diameter_px"][pairs.particle]
    whole = ~made.border[pairs.box] & (columns["border"][pairs.particle] == 0)
    of_mean = abs(float(found[whole].mean() / sizes[whole].mean()) - 1) if whole.sum() >= _FEW else None
    deviation = columns["diameter_sd_px"][pairs.particle] / sizes
    counts = _counts(mask, true), _counts(mask[~faint], true[~faint])
    return _Scored(*counts, pairs, (found / sizes - 1)[whole], deviation[whole], of_mean)


def _summed(done: Sequence[_Scored]) -> SizeScore:
    error, deviation = (np.concatenate([getattr(one, name) for one in done]) for name in ("error", "deviation"))
    right, found, there = np.sum([one.pixels for one in done], axis=0)
    total = score([one.pairs for one in done])
    means = [one.of_mean for one in done if one.of_mean is not None]
    none = float("nan")
    return SizeScore(
        images=len(done),
        particles=len(error),
        f1=_f1(np.array([right, found, there])),
        precision=float(right / max(found, 1)),
        recall=float(right / max(there, 1)),
        seen_f1=_f1(np.sum([one.seen for one in done], axis=0)),
        detection_f1=total.f1,
        count_error=total.pooled_count_error,
        size_error=float(np.median(np.abs(error))) if len(error) else none,
        mean_size_error=float(np.mean(means)) if means else none,
        size_bias=float(np.median(error)) if len(error) else none,
        coverage=float((np.abs(error) < _FULL * deviation).mean()) if len(error) else none,
    )


_HALF = 0.5  # share of a pixel from which it counts as a particle's
_FEW = 4  # whole particles from which an image has a mean diameter
_READ = ("x", "y", "diameter_px", "diameter_sd_px", "border")


def _faint(made: ParticleImage) -> np.ndarray:
    """Pixels (y, x) of particles too faint to count."""
    return np.asarray(np.concatenate([[False], made.signal_to_noise < SEEN])[made.drawing.label])


def _counts(mask: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.array([(mask & true).sum(), mask.sum(), true.sum()], dtype=np.float64)


def _f1(counts: np.ndarray) -> float:
    return float(2 * counts[0] / max(counts[1] + counts[2], 1))


def _pairs(made: ParticleImage, columns: dict[str, np.ndarray]) -> Agreement:
    """Matches with the particles that can be seen and whose centres lie on the image; those found where
    a faint one lies count neither way."""
    boxes = made.particles.boxes()
    centres = made.particles.centres
    inside = ((centres >= 0) & (centres < made.image.shape)).all(1)
    counts = (made.signal_to_noise >= SEEN) & inside
    every = agreement(np.stack([columns["x"], columns["y"]], axis=1), columns["diameter_px"], boxes)
    kept = counts[every.box]
    return Agreement(
        every.particles - int((~kept).sum()),
        int(counts.sum()),
        every.particle[kept],
        every.box[kept],
        every.log_sizes[kept],
    )
