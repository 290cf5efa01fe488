"""Lateral spread: electrons enter at one pixel and leave at another.

Entry-exit model. Of the local signal I(x), the films alone give R(x), the substrate the rest, S(x) = I(x) - R(x):

    I_spread(x) = R(x) + T_in(x) sum_b [K_b * T_out,b](x),     T_in(x) = S(x) / sum_b k_b T_out,b(x)

b runs over exit energies of the bare substrate, K_b is their distribution of the exit radius, with sum k_b, and
T_out,b(x) the signal of an electron that comes up to the films of pixel x with that energy. T_in makes even films
exact: there I_spread = I. Films under others are hit elsewhere than where the beam enters: with eta_top the signal of
the films above the lowest one, and P the displacement on the way down through them,

    I_spread = eta_top + P * (R - eta_top + T_in sum_b K_b * T_out,b)

P acts among pixels whose lowest film lies at a like depth. The beam's diameter widens the whole. Not in it: electrons
that go sideways below or above a neighbour's film that lies at another depth; the spread within the topmost film.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from scipy.special import j0
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.physics.spread_kernels import SpreadKernels

_FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_BEAM_REACH = 4.0  # standard deviations
_FREQUENCIES = 1024  # points of a radial transfer function, even in frequency: linear between
_LEAST_RETURN = 1e-12  # keeps 0 / 0 finite where nothing comes back from the substrate


class LocalPhysics(Protocol):
    """What the spread asks of a local forward model; thickness (..., l, y, x) [nm], layers bottom to top."""

    def total(self, thickness: Tensor) -> Tensor:
        """Signal of the whole stack (..., e, y, x)."""
        ...

    def films(self, thickness: Tensor, lowest: int) -> Tensor:
        """Signal of the films ``lowest``.. (0: all of them) over a perfect absorber (..., e, y, x); same units."""
        ...

    def emission(self, thickness: Tensor, exit_kev: Tensor) -> Tensor:
        """Signal of one electron that comes up from the substrate at ``exit_kev`` (e, b), cosine-distributed.

        (..., e, b, y, x), same units; electrons that the films send back and the substrate returns count.
        """
        ...


class Spread:
    """A forward model with lateral spread around a local one: thickness (..., l, y, x) [nm] to (..., e, y, x).

    Outside the field of view the values at its edge go on. Where the field is narrower than the kernel that
    assumption decides: :attr:`assumed` says how much.
    """

    local = False

    def __init__(
        self, physics: LocalPhysics, kernels: SpreadKernels, pixel_nm: float, beam_fwhm_nm: float = 0.0
    ) -> None:
        if not 0 < pixel_nm < math.inf or not 0 <= beam_fwhm_nm < math.inf:
            raise MicrotomoError(
                f"pixel_nm must be above 0 and beam_fwhm_nm 0 or more, got {pixel_nm} and {beam_fwhm_nm}"
            )
        self.physics = physics
        self.kernels = kernels
        self.pixel_nm = float(pixel_nm)
        self.beam_sigma_nm = beam_fwhm_nm / _FWHM_PER_SIGMA
        self._transfer: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def assumed(self, height: int, width: int) -> np.ndarray:
        """Share of the substrate's electrons, by energy (e,), that leave outside a field of y, x pixels.

        For a beam in the middle of the field; beyond the edge the films are assumed.
        """
        half = min(height, width) * self.pixel_nm / 2
        radii = self.kernels.radius_nm.reshape(len(self.kernels.energies_kev), -1)
        return np.asarray((radii > half).mean(axis=1))

    def __call__(self, thickness: Tensor) -> Tensor:
        """Signal with spread (..., e, y, x), differentiable in the thickness."""
        physics, kernels = self.physics, self.kernels
        share = torch.as_tensor(kernels.share).to(thickness)[..., None, None]
        films = physics.films(thickness, 0)
        emission = physics.emission(thickness, torch.as_tensor(kernels.exit_kev).to(thickness))
        entry = (physics.total(thickness) - films) / ((share * emission).sum(-3) + _LEAST_RETURN)
        by_radius, by_depth = self._transfers(thickness)
        pad = self._pad(thickness)
        spectrum = (torch.fft.rfft2(_continued(emission, pad)) * by_radius * share).sum(-3)
        deep = entry * _cropped(torch.fft.irfft2(spectrum, s=_padded(thickness, pad)), pad)
        top = torch.zeros_like(films)
        if len(kernels.buried_nm):
            top = physics.films(thickness, 1)
            deep = self._displaced(deep + films - top, thickness[..., 1:, :, :].sum(-3), by_depth, pad)
        else:
            deep = deep + films
        return self._widened(top + deep, pad)

    def _displaced(self, signal: Tensor, depth: Tensor, by_depth: Tensor, pad: int) -> Tensor:
        """Entry displaced on the way down to ``depth`` (..., y, x), between the depths of the kernels.

        Where the neighbour's film lies at another depth, the electron meets more of its own: it counts as such.
        """
        levels = [0.0, *self.kernels.buried_nm]
        spacing = levels[1] - levels[0]
        result: Tensor = signal * (1 - depth / spacing).clamp(0, 1)[..., None, :, :]
        for m, level in enumerate(levels[1:]):
            away = (depth - level) / spacing
            away = away.clamp(max=0.0) if m + 2 == len(levels) else away
            near = (1 - away.abs()).clamp(0, 1)[..., None, :, :]
            alike = (2 - away.abs()).clamp(0, 1)[..., None, :, :]
            among = _filtered(alike * signal, by_depth[m], pad)
            result = result + near * (among + signal * (1 - _filtered(alike, by_depth[m], pad)))
        return result

    def _widened(self, signal: Tensor, pad: int) -> Tensor:
        """The beam's Gaussian diameter."""
        if self.beam_sigma_nm == 0:
            return signal
        frequency = _frequencies(signal, pad, self.pixel_nm)
        gauss = torch.exp(-2 * (math.pi * self.beam_sigma_nm * frequency) ** 2)
        return _filtered(signal, gauss, pad)

    def _pad(self, thickness: Tensor) -> int:
        """Pixels added on every side: the widest kernel's reach, the field's own size at most."""
        reach = max(float(self.kernels.reach_nm.max()), _BEAM_REACH * self.beam_sigma_nm)
        return min(math.ceil(reach / self.pixel_nm), max(thickness.shape[-2:]))

    def _transfers(self, thickness: Tensor) -> tuple[Tensor, Tensor]:
        """Transfer functions on the padded grid: exit radii (e, b, fy, fx), displacements (m, e, fy, fx)."""
        key = (*thickness.shape[-2:], thickness.dtype, thickness.device)
        if key not in self._transfer:
            frequency = _frequencies(thickness, self._pad(thickness), self.pixel_nm)
            self._transfer[key] = (
                _radial(self.kernels.radius_nm, frequency),
                _radial(self.kernels.buried_radius_nm, frequency),
            )
        return self._transfer[key]


def _filtered(field: Tensor, transfer: Tensor, pad: int) -> Tensor:
    """Convolution by a transfer function on the padded grid."""
    spectrum: Tensor = torch.fft.rfft2(_continued(field, pad)) * transfer
    return _cropped(torch.fft.irfft2(spectrum, s=_padded(field, pad)), pad)


def _radial(radius_nm: np.ndarray, frequency: Tensor) -> Tensor:
    """Transfer functions of distributions over a radius: the mean of J0(2 pi f r) (..., fy, fx)."""
    f = frequency.detach().cpu().double().numpy()
    points = np.linspace(0, f.max(), _FREQUENCIES)
    place = f / points[1]
    k = np.minimum(place.astype(np.int64), _FREQUENCIES - 2)
    share = place - k
    rows = []
    for radii in radius_nm.reshape(-1, radius_nm.shape[-1]):
        row = j0(2 * math.pi * points[:, None] * radii).mean(axis=1)
        rows.append(torch.as_tensor(row[k] * (1 - share) + row[k + 1] * share).to(frequency))
    shape = (*radius_nm.shape[:-1], *frequency.shape)
    return torch.stack(rows).reshape(shape) if rows else frequency.new_zeros(shape)


def _frequencies(field: Tensor, pad: int, pixel_nm: float) -> Tensor:
    """Absolute spatial frequencies [1/nm] of the padded field's transform (fy, fx)."""
    height, width = _padded(field, pad)
    fy = torch.fft.fftfreq(height, pixel_nm, dtype=torch.float64)
    fx = torch.fft.rfftfreq(width, pixel_nm, dtype=torch.float64)
    frequency: Tensor = torch.hypot(fy[:, None], fx[None, :]).to(field)
    return frequency


def _padded(field: Tensor, pad: int) -> tuple[int, int]:
    return field.shape[-2] + 2 * pad, field.shape[-1] + 2 * pad


def _continued(field: Tensor, pad: int) -> Tensor:
    """Edge values carried on by ``pad`` pixels on every side."""
    height, width = field.shape[-2:]
    y = torch.arange(-pad, height + pad, device=field.device).clamp(0, height - 1)
    x = torch.arange(-pad, width + pad, device=field.device).clamp(0, width - 1)
    return field[..., y[:, None], x[None, :]]


def _cropped(field: Tensor, pad: int) -> Tensor:
    return field[..., pad : field.shape[-2] - pad, pad : field.shape[-1] - pad]
