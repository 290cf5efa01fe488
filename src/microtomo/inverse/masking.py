"""Pixels that are left out of a reconstruction: NaN at every energy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError


def fill_left_out(signal: Tensor) -> tuple[Tensor, Tensor | None]:
    """The signal (n, e, y, x) with those pixels replaced by their nearest others, so that methods which look at
    neighbours meet no edge there, and which they are (n, y, x); None where there are none.

    Raises MicrotomoError where nothing of a sample is left.
    """
    from scipy.ndimage import distance_transform_edt

    left_out = signal.isnan().all(1)
    if not bool(left_out.any()):
        return signal, None
    if bool(left_out.flatten(1).all(1).any()):
        raise MicrotomoError("every pixel is left out: give a mask that is above 0 where the sample is to be solved")
    filled = signal.clone()
    for sample, out in zip(filled, left_out.cpu().numpy(), strict=True):
        y, x = distance_transform_edt(out, return_distances=False, return_indices=True)
        sample[:] = sample[:, torch.from_numpy(np.asarray(y)), torch.from_numpy(np.asarray(x))]
    return filled, left_out
