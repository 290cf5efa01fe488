"""Images and targets that the particle network learns from: synthetic alone, by (seed, index)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from microtomo.tem.particles.synthetic import Conditions, ParticleImage, generator, log_uniform, particle_image

SEEN = 3.0
"""Signal over noise of a whole particle (Rose, J. Opt. Soc. Am. 38 (1948) 196, asks for 3 to 5): fainter ones count
neither way."""

WRONG_WAY = 0.12
"""Share of images given with the wrong sign and no particle as target: it teaches which sign is right."""

_RECORDING = 1  # stream of the random numbers for how an image is kept


@dataclass(frozen=True)
class TrainingImage:
    """``image`` (y, x) float32, mean 0, deviation 1, particles bright; ``cover`` (y, x) 0..1; ``depth`` (y, x) 0..1;
    ``size`` (y, x) diameter [px] of the particle there, 0 where there is none; ``weight`` (y, x) 0..1."""

    image: np.ndarray
    cover: np.ndarray
    depth: np.ndarray
    size: np.ndarray
    weight: np.ndarray


def training_conditions(size: int) -> Conditions:
    """Conditions of the training set for images of ``size`` x ``size`` pixels."""
    return Conditions(
        size=(size, size),
        diameter_px=(4.5, 36.0),
        spread=(0.12, 0.65),
        covered=(0.03, 0.3),
        contrast=(0.08, 2.5),
        touching=(0.0, 0.45),
        blur_px=(0.3, 2.2),
        grown=(1.8, 5.0),
        heaped=(0.0, 0.9),
    )


def training_image(seed: int, index: int, size: int = 192) -> TrainingImage:
    """Image ``index`` of the training set of ``seed``: the same bytes whenever it is asked for."""
    made = particle_image(seed, index, training_conditions(size))
    rng = generator(seed, index, _RECORDING)
    image = recorded(made, rng)
    if rng.random() < WRONG_WAY:
        empty = np.zeros_like(image)
        return TrainingImage(-image, empty, empty, empty, np.ones_like(image))
    label = made.drawing.label
    sizes = np.concatenate([[0], made.particles.diameters()]).astype(np.float32)[label]
    faint = np.concatenate([[False], made.signal_to_noise < SEEN])[label]
    return TrainingImage(image, made.drawing.coverage, made.drawing.depth, sizes, np.where(faint, np.float32(0), 1))


def recorded_image(made: ParticleImage, seed: int, index: int) -> np.ndarray:
    """Image ``index`` of the set of ``seed`` as programs keep it, see :func:`recorded`."""
    return recorded(made, generator(seed, index, _RECORDING))


def recorded(made: ParticleImage, rng: np.random.Generator) -> np.ndarray:
    """The image as programs keep it, particles bright: another contrast curve, clipped, resampled noise, 8 bits."""
    image = made.image if made.bright else -made.image
    low, high = np.percentile(image, (rng.uniform(0, 2) * (rng.random() < 0.5), 100 - rng.uniform(0, 0.6)))
    image = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1 + rng.uniform(0, 0.5)).astype(np.float32)
    image = image ** np.float32(log_uniform(rng, (0.6, 1.7)))
    if rng.random() < 0.25:
        image = gaussian_filter(image, rng.uniform(0.4, 1.1), mode="reflect")
    if rng.random() < 0.25:
        image = image + np.float32(rng.uniform(0, 0.05)) * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.round(image * 255) / 255
    return normalised(image) * np.float32(log_uniform(rng, (0.7, 1.4))) + np.float32(rng.normal(0, 0.3))


def normalised(image: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, float32; an even image becomes 0."""
    image = np.asarray(image, dtype=np.float32)
    return np.asarray((image - image.mean()) / max(float(image.std()), 1e-6), dtype=np.float32)
