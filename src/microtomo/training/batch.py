"""What goes from data to training."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """``signal`` (n, e, y, x), empty until it is simulated on the training device; ``thickness`` (n, l, y, x) [nm];
    ``noise`` (n,); ``seed`` (n,) of noise and symmetry."""

    signal: Tensor
    thickness: Tensor
    noise: Tensor
    seed: Tensor
