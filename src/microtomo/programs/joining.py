"""Reconstructions of parts of the samples as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from microtomo.io.arrays import to_numpy
from microtomo.scan import Reconstruction

_ARRAYS = ("thickness", "uncertainty", "volume", "chi_square", "status", "rejected")


def joined(parts: Sequence[Reconstruction]) -> Reconstruction:
    """One reconstruction of all samples of ``parts``, which have a sample axis and a method in common.

    Its seconds are their sum, its noise level their mean. One part is given back as it is.
    """
    if len(parts) == 1:
        return parts[0]

    def along(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(v is None for v in values) else np.concatenate([to_numpy(v) for v in values])

    counts = [len(part.thickness) for part in parts]
    return replace(
        parts[0],
        **{name: along(name) for name in _ARRAYS},
        noise=float(np.average([part.noise for part in parts], weights=counts)),
        seconds=sum(part.seconds for part in parts),
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
    )
