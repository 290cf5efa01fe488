"""Seeds: every random thing of a data set has its own, computed from where it stands."""

from __future__ import annotations

from microtomo.errors import MicrotomoError

NOISE, KIND = 254, 255
"""Streams of a sample beside its layers (0, 1, ...): the detector's noise, and the choice of the structure kind."""

_WORD = 2**64 - 1


def derive_seed(seed: int, split: int, sample: int, stream: int) -> int:
    """A 64-bit seed for one random stream of one sample of one split.

    For one ``seed`` two places never get the same value: the place is packed into 64 bits and scrambled by a
    bijection. Raises MicrotomoError for a seed outside 0..2^63 - 1.
    """
    if not 0 <= seed < 2**63:
        raise MicrotomoError(f"seed {seed} is out of range: give a whole number from 0 to 2^63 - 1")
    if not (0 <= split < 2**8 and 0 <= stream < 2**8 and 0 <= sample < 2**48):
        raise MicrotomoError(f"no seed for sample {sample} of split {split}, stream {stream}: numbers are out of range")
    return _scramble(_scramble(seed) ^ (split << 56 | stream << 48 | sample))


def _scramble(word: int) -> int:
    """Bijection of 64-bit words, the output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return word ^ word >> 31
