"""What the detector makes of the ideal signal: noise, dose, gain and offset."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from microtomo.errors import MicrotomoError


class Detector(BaseModel):
    """Detector model, in the order in which it acts.

    ``electrons_per_pixel``: detected electrons on bare substrate per pixel and energy (n = 6.24 I[pA] eta t[us]);
    the signal becomes Poisson counts over that number; None for no shot noise. ``noise``: standard deviation of the
    multiplicative Gaussian noise, 0.02 = 2 %. ``gain`` and ``offset``: one value an energy, or one for all;
    recorded = gain * signal + offset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    electrons_per_pixel: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gain: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = (1.0,)
    offset: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = (0.0,)

    @property
    def relative_noise(self) -> float:
        """Relative standard deviation on bare substrate, of Gaussian and shot noise together."""
        return math.hypot(self.noise, 0.0 if self.electrons_per_pixel is None else self.electrons_per_pixel**-0.5)


def detect(signal: Tensor, detector: Detector, seed: int) -> Tensor:
    """Recorded signal, same shape, dtype and device as ``signal`` (..., e, y, x); ``signal`` is left as it is.

    Random numbers are drawn on the CPU from ``seed`` (0..2^64 - 1) alone, so every device gives the same scan.
    Differentiable in ``signal`` where there is no shot noise.
    Raises MicrotomoError where gain or offset do not fit the number of energies.
    """
    from microtomo.physics.kernels import counter_normals

    recorded = signal
    if detector.electrons_per_pixel is not None:
        expected = (signal.detach().double() * detector.electrons_per_pixel).cpu().numpy()
        counts = np.random.Generator(np.random.Philox(key=seed)).poisson(expected)
        recorded = (torch.from_numpy(counts) / detector.electrons_per_pixel).to(signal)
    if detector.noise > 0:
        normal = torch.from_numpy(counter_normals(signal.numel(), seed)).reshape(signal.shape).to(signal)
        recorded = normal.mul_(detector.noise).add_(1).mul_(recorded)
    gain, offset = _per_energy(detector.gain, "gain", signal), _per_energy(detector.offset, "offset", signal)
    if gain is not None:
        recorded = recorded * gain
    if offset is not None:
        recorded = recorded + offset
    return recorded.clone() if recorded is signal else recorded


def _per_energy(values: tuple[float, ...], name: str, signal: Tensor) -> Tensor | None:
    neutral = (1.0,) if name == "gain" else (0.0,)
    if values == neutral:
        return None
    if len(values) not in (1, signal.shape[-3]):
        raise MicrotomoError(
            f"detector {name} has {len(values)} values for {signal.shape[-3]} energies: give one, or one each"
        )
    return torch.tensor(values, dtype=signal.dtype, device=signal.device)[:, None, None]
