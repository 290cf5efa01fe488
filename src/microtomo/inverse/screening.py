"""What is done to a scan before it is inverted: hot and dead values out, normalisation checked and put right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from microtomo.acquisition.normalisation import Normalisation, check_normalisation
from microtomo.inverse.noise import estimate_noise
from microtomo.inverse.outliers import reject_outliers
from microtomo.physics.forward import ForwardModel


@dataclass(frozen=True)
class Screened:
    """Scans (n, e, y, x) fit to be inverted, their noise levels (n,), how many values of each pixel were ``rejected``
    (n, y, x) uint8, and what was found of each scan's normalisation (None: not looked at)."""

    signal: Tensor
    noise: Tensor
    rejected: Tensor
    normalisation: tuple[Normalisation | None, ...]

    def gain_error(self, i: int) -> float:
        """Relative standard deviation of the gain that scan ``i`` was divided by, 0 where it was not."""
        normal = self.normalisation[i]
        return 0.0 if normal is None else normal.error


def screen(
    signal: Tensor, forward: ForwardModel, noise: Tensor, *, given: bool, as_is: bool, with_spread: bool
) -> Screened:
    """Screen scans (n, e, y, x) of noise levels (n,), which stay where they were ``given``.

    ``as_is`` does nothing. With lateral spread even regions share what the neighbourhood scatters into them, so that
    a gain cannot be told: the normalisation is then not looked at.
    """
    rejected = torch.zeros_like(signal[:, 0], dtype=torch.uint8)
    if as_is:
        return Screened(signal, noise, rejected, (None,) * len(signal))
    scans, levels, found = [], [], []
    for i, scan in enumerate(signal):
        cleaned = reject_outliers(scan, forward, float(noise[i]))
        rejected[i] = cleaned.rejected.sum(0).to(torch.uint8)
        normal = None if with_spread else check_normalisation(cleaned.signal.cpu().numpy(), forward)
        result = cleaned.signal
        if normal is not None and normal.state == "corrected":
            result = result / torch.from_numpy(normal.gain[:, None, None] * normal.shading).to(result)
        changed = result is not scan and not given
        levels.append(estimate_noise(result[None], forward)[0] if changed else noise[i])
        scans.append(result)
        found.append(normal)
    same = all(new is old for new, old in zip(scans, signal, strict=True))
    return Screened(signal if same else torch.stack(scans), torch.stack(levels).to(noise), rejected, tuple(found))
