"""Seeds: every random thing has its own, computed from where it stands: a seed, a stream, a sample and a part of it."""

from __future__ import annotations

from enum import IntEnum

from microtomo.errors import MicrotomoError

FAULT, NOISE, KIND = 253, 254, 255
"""Parts of a sample beside its layers (0, 1, ...): what goes wrong with it, the detector's noise, and the choice of the
structure's kind."""

TEST_SEED = 20_301_122
"""Seed of the structures that figures are reported on; nothing was chosen or trained on them."""
VALIDATION_SEED = 20_301_101
"""Seed of the structures that settings are chosen on."""

_WORD = 2**64 - 1


class Stream(IntEnum):
    """What random numbers are for. For one seed no two streams share a number.

    What is published rests on 0 to 3, 4 and 7: they stay. A new use takes a new number.
    """

    SAMPLES = 0
    """Data sets without splits, and the noise of scans of given structures."""
    TRAIN = 1
    """Split train of data sets."""
    VALIDATION = 2
    """Split validation of data sets."""
    TEST = 3
    """Split test of data sets."""
    DESIGN_PATCHES = 4
    """Places of the thicknesses in images on which a choice of energies is checked."""
    DESIGN_STRUCTURES = 5
    """Lithography on which a choice of energies is checked."""
    CHARTS = 6
    """Places of the thicknesses on charts of the reproduced report, and their noise."""
    SHUFFLE = 7
    """Order of stored samples in each epoch, and how each is turned."""
    TRAINING = 8
    """Samples that are simulated, or cut out of micrographs, as training goes."""
    TRAINING_VALIDATION = 9
    """Samples that score a network after each epoch."""
    CALIBRATION = 10
    """Samples on which the error bars and the voxel rule of a trained network are set."""
    HELD_OUT = 11
    """Which micrographs of a folder are kept apart to score each epoch."""
    WEIGHTED_LOSSES = 12
    """Structures on which the reproduced report compares weights of the loss."""
    NETWORK = 13
    """What networks draw themselves while they train (dropout), by step and device."""
    ROBUSTNESS = 14
    """Scans with faults: thresholds were chosen on those of VALIDATION_SEED, figures are of TEST_SEED."""


TRIAL_STRUCTURES = Stream.VALIDATION
"""Structures of the leaderboard. Data sets leave this stream of TEST_SEED and VALIDATION_SEED free."""
MICROGRAPHS = Stream.SAMPLES
"""Synthetic micrographs of graphene. They draw from PCG64, layers and noise from Philox: no number is the same."""


def derive_seed(seed: int, stream: int, sample: int, part: int) -> int:
    """A 64-bit seed for one part (a layer, :data:`NOISE` or :data:`KIND`) of one sample of a stream.

    For one ``seed`` two places never get the same value: the place is packed into 64 bits and scrambled by a
    bijection. Raises MicrotomoError for a seed outside 0..2^63 - 1.
    """
    if not 0 <= seed < 2**63:
        raise MicrotomoError(f"seed {seed} is out of range: give a whole number from 0 to 2^63 - 1")
    if not (0 <= stream < 2**8 and 0 <= part < 2**8 and 0 <= sample < 2**48):
        raise MicrotomoError(f"no seed for sample {sample} of stream {stream}, part {part}: numbers are out of range")
    return _scramble(_scramble(seed) ^ (stream << 56 | part << 48 | sample))


def layer_seeds(seed: int, stream: int, sample: int, layers: int) -> tuple[int, ...]:
    """Seeds of the layers of a sample, bottom to top; none occurs twice."""
    return tuple(derive_seed(seed, stream, sample, layer) for layer in range(layers))


def _scramble(word: int) -> int:
    """Bijection of 64-bit words, the output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return word ^ word >> 31
