"""Lateral spread: electrons enter at one pixel and leave at another.

Entry-exit model. Of the local signal I(x), the films alone give R(x), the substrate the rest, S(x) = I(x) - R(x):

    I_spread(x) = R(x) + T_in(x) sum_b [K_b * T_out,b](x),     T_in(x) = S(x) / sum_b k_b T_out,b(x)

b runs over exit energies of the bare substrate, K_b is their distribution of the exit radius, with sum k_b, and
T_out,b(x) the signal of an electron that comes up to the films of pixel x with that energy. T_in makes even films
exact: there I_spread = I; where films are so thick that next to nothing comes up through them, what does stays where
it is. Films under others are hit elsewhere than where the beam enters: with eta_top the signal of
the films above the lowest one, and P the displacement on the way down through them,

    I_spread = eta_top + P * (R - eta_top + T_in sum_b K_b * T_out,b)

P acts among pixels whose lowest film lies at a like depth. The beam's diameter widens the whole. Not in it: electrons
that go sideways below or above a neighbour's film that lies at another depth; the spread within the topmost film.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.special import j0
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.physics.spread_kernels import SpreadKernels

_FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_BEAM_REACH = 4.0  # standard deviations
_KERNEL_REACH = 0.99  # share of the exits within what is added to the field on every side
_FREQUENCIES = 1024  # points of a radial transfer function, even in frequency: linear between
_LEAST_RETURN = 1e-4  # of bare substrate: tables err by about as much, so less says nothing of where electrons enter

Outside = Literal["edge", "mirror"]
"""What lies beyond the field: its edge values go on, or its mirror image."""


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

    def way_out(self, thickness: Tensor, exit_kev: np.ndarray, weights: np.ndarray) -> Tensor:
        """Sum (..., e, y, x) of the emission over exit energies (e, b) with such weights; only what takes surroundings
        as given asks for it."""
        ...


class Spread:
    """Lateral spread around local physics: thickness (..., l, y, x) [nm] to signal (..., e, y, x).

    Beyond the field of view its edge values go on, or its mirror image. Where the field is narrower than the kernel
    that assumption decides: :attr:`assumed` says how much. Raises MicrotomoError for impossible sizes.
    """

    def __init__(
        self,
        physics: LocalPhysics,
        kernels: SpreadKernels,
        pixel_nm: float,
        beam_fwhm_nm: float = 0.0,
        outside: Outside = "edge",
    ) -> None:
        if not 0 < pixel_nm < math.inf or not 0 <= beam_fwhm_nm < math.inf:
            raise MicrotomoError(
                f"pixel_nm must be above 0 and beam_fwhm_nm 0 or more, got {pixel_nm} and {beam_fwhm_nm}"
            )
        self.physics = physics
        self.kernels = kernels
        self.pixel_nm = float(pixel_nm)
        self.beam_sigma_nm = beam_fwhm_nm / _FWHM_PER_SIGMA
        self.outside: Outside = outside

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
        films = physics.films(thickness, 0)
        back = (physics.total(thickness) - films).clamp_min(0)
        deep = films + back + self._elsewhere(physics.emission(thickness, torch.as_tensor(kernels.exit_kev)), back)
        if len(kernels.buried_nm):
            top = physics.films(thickness, 1)
            deep = top + self._displaced(deep - top, thickness[..., 1:, :, :].sum(-3))
        return self.widened(deep)

    def _elsewhere(self, emission: Tensor, back: Tensor) -> Tensor:
        """What the films where electrons leave change of the signal that comes ``back`` from the substrate."""
        local, around, _ = self.ways_out(emission)
        return entering(back, local) * (around - local)

    def ways_out(self, emission: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of what the substrate sends back the signal (..., e, y, x), by ``emission`` (..., e, b, y, x): had it left
        through the films of the pixel itself, and where it leaves; and how many leave at their own pixel (e, b)."""
        parts = []
        for e, share in enumerate(torch.as_tensor(self.kernels.share).to(emission)):
            weighed = share[:, None, None] * emission[..., e, :, :, :]
            pad = self._pad(self.kernels.radius_nm[e], weighed)
            transfer = self._transfer(self._out[e], weighed, pad)
            spectrum = (torch.fft.rfft2(self._continued(weighed, pad)) * transfer).sum(-3)
            own = share * _at_origin(transfer, _padded(weighed, pad))
            parts.append((weighed.sum(-3), self._restored(spectrum, weighed, pad), own))
        local, around, weights = zip(*parts, strict=True)
        return torch.stack(local, dim=-3), torch.stack(around, dim=-3), torch.stack(weights)

    def smoothed(self, field: Tensor) -> Tensor:
        """A field (..., e, y, x) as a mean over where electrons leave, whatever their exit energy."""
        parts = []
        for e, share in enumerate(torch.as_tensor(self.kernels.share).to(field)):
            pad = self._pad(self.kernels.radius_nm[e], field)
            mean = (self._transfer(self._out[e], field, pad) * (share / share.sum())[:, None, None]).sum(0)
            parts.append(self._filtered(field[..., e, :, :], mean, pad))
        return torch.stack(parts, dim=-3)

    def _displaced(self, signal: Tensor, depth: Tensor) -> Tensor:
        """Entry displaced on the way down to ``depth`` (..., y, x), between the depths of the kernels.

        Where the neighbour's film lies at another depth, the electron meets more of its own: it counts as such.
        """
        near, alike = self.depths(depth)
        result: Tensor = signal * (1 - near.sum(0))[..., None, :, :]
        for m in range(len(near)):
            among, shares, _ = self.ways_down(m, signal, alike[m])
            result = result + near[m][..., None, :, :] * (among + signal * (1 - shares))
        return result

    def depths(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (m, ...) of the kernels' depths for films under ``depth`` (...) [nm]: those that interpolate between
        them, the rest of 1 being the surface, and those of which depths an electron is displaced among."""
        levels = torch.as_tensor(self.kernels.buried_nm).to(depth)
        away = (depth - levels.reshape(-1, *[1] * depth.ndim)) / levels[0]
        away = torch.cat([away[:-1], away[-1:].clamp(max=0.0)])
        return (1 - away.abs()).clamp(0, 1), (2 - away.abs()).clamp(0, 1)

    def ways_down(self, m: int, signal: Tensor, alike: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``signal`` (..., e, y, x) of the pixels at depth m where electrons reach it, the share (..., e, y, x) that
        reach it there, and the weight (e,) of a pixel for itself; ``alike`` (..., y, x) as of :meth:`depths`."""
        pad = self._pad(self.kernels.buried_radius_nm[m], signal)
        transfer = self._transfer(self._down[m], signal, pad)
        weight = alike[..., None, :, :]
        own = _at_origin(transfer, _padded(signal, pad))
        return self._filtered(weight * signal, transfer, pad), self._filtered(weight, transfer, pad), own

    def widened(self, signal: Tensor) -> Tensor:
        """The beam's Gaussian diameter."""
        if self.beam_sigma_nm == 0:
            return signal
        pad = math.ceil(_BEAM_REACH * self.beam_sigma_nm / self.pixel_nm)
        frequency = self._frequencies(signal, pad)
        return self._filtered(signal, torch.exp(-2 * (math.pi * self.beam_sigma_nm * frequency) ** 2), pad)

    def _pad(self, radius_nm: np.ndarray, field: Tensor) -> int:
        """Pixels added on every side: the kernel's reach, the field's own size at most."""
        reach = float(np.quantile(radius_nm, _KERNEL_REACH))
        return min(math.ceil(reach / self.pixel_nm), max(field.shape[-2:]))

    @cached_property
    def _out(self) -> np.ndarray:
        """Radial transfer functions of the exit radii (e, b, frequency)."""
        return self._radial(self.kernels.radius_nm)

    @cached_property
    def _down(self) -> np.ndarray:
        """Radial transfer functions of the displacements (m, e, frequency)."""
        return self._radial(self.kernels.buried_radius_nm)

    def _radial(self, radius_nm: np.ndarray) -> np.ndarray:
        """Transfer functions of distributions over a radius: the mean of J0(2 pi f r), up to the highest frequency."""
        points = np.linspace(0, math.sqrt(0.5) / self.pixel_nm, _FREQUENCIES)
        flat = radius_nm.reshape(-1, radius_nm.shape[-1])
        rows = [j0(2 * math.pi * points[:, None] * radii).mean(axis=1) for radii in flat]
        return np.array(rows).reshape(*radius_nm.shape[:-1], _FREQUENCIES)

    def _transfer(self, radial: np.ndarray, field: Tensor, pad: int) -> Tensor:
        """Transfer functions (k, fy, fx) on the padded grid from radial ones (k, frequency)."""
        place = self._frequencies(field, pad).double() * (self.pixel_nm / math.sqrt(0.5) * (_FREQUENCIES - 1))
        low = place.long().clamp(max=_FREQUENCIES - 2)
        rows, share = torch.as_tensor(radial).to(place.device), place - low
        transfer: Tensor = (rows[:, low] * (1 - share) + rows[:, low + 1] * share).to(field)
        return transfer

    def _filtered(self, field: Tensor, transfer: Tensor, pad: int) -> Tensor:
        """Convolution by a transfer function on the padded grid."""
        return self._restored(torch.fft.rfft2(self._continued(field, pad)) * transfer, field, pad)

    def _restored(self, spectrum: Tensor, field: Tensor, pad: int) -> Tensor:
        """The field's own pixels from a spectrum on the padded grid."""
        height, width = field.shape[-2:]
        whole: Tensor = torch.fft.irfft2(spectrum, s=_padded(field, pad))
        return whole[..., pad : pad + height, pad : pad + width]

    def _frequencies(self, field: Tensor, pad: int) -> Tensor:
        """Absolute spatial frequencies [1/nm] of the padded field's transform (fy, fx)."""
        height, width = _padded(field, pad)
        fy = torch.fft.fftfreq(height, self.pixel_nm, dtype=torch.float64)
        fx = torch.fft.rfftfreq(width, self.pixel_nm, dtype=torch.float64)
        frequency: Tensor = torch.hypot(fy[:, None], fx[None, :]).to(field)
        return frequency

    def _continued(self, field: Tensor, pad: int) -> Tensor:
        """The field with what lies beyond it, ``pad`` pixels or a few more on every side."""
        size, whole = field.shape[-2:], _padded(field, pad)
        y, x = (
            _index(torch.arange(-pad, w - pad, device=field.device), n, self.outside)
            for n, w in zip(size, whole, strict=True)
        )
        return field[..., y[:, None], x[None, :]]


def _index(place: Tensor, size: int, outside: Outside) -> Tensor:
    """Which pixel of 0..size - 1 stands at any place."""
    if outside == "edge":
        return place.clamp(0, size - 1)
    turned = place.remainder(2 * size)
    return torch.minimum(turned, 2 * size - 1 - turned)


def entering(back: Tensor, local: Tensor) -> Tensor:
    """T_in: the signal that comes ``back`` from the substrate over that of electrons on their way out; next to nothing
    where the films let next to nothing through."""
    return back * local / (local**2 + _LEAST_RETURN**2)


def _at_origin(transfer: Tensor, size: tuple[int, int]) -> Tensor:
    """What kernels leave where it is: (k,) from their transfer functions (k, fy, fx) on a grid of that size."""
    whole: Tensor = torch.fft.irfft2(transfer, s=size)[..., 0, 0]
    return whole


def _padded(field: Tensor, pad: int) -> tuple[int, int]:
    """Size of the padded grid: a good one for Fourier transforms."""
    height, width = (int(next_fast_len(n + 2 * pad, real=True)) for n in field.shape[-2:])
    return height, width
