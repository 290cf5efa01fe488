"""Backscattered-electron signal of a layer stack: the analytic attenuation model (Rau & Reimer 2001)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack

CONTRASTS = ("material", "published")


def attenuation_factor(atomic_number: float) -> float:
    """a(Z) = exp(0.022 (Z + 2)) / 0.49, how strongly a material backscatters per share of the range."""
    return math.exp(0.022 * (atomic_number + 2)) / 0.49


def layer_response(m: Tensor, energy_kev: Tensor, a: float) -> tuple[Tensor, Tensor]:
    """What a layer does to the beam (Rau & Reimer 2001): transmitted share 1 - xi, and the energy below [keV].

    ``m`` = d rho^0.91 is the mass-thickness parameter, ``energy_kev`` the energy that enters; both broadcast.

        psi = m / (74 E^1.55 - m),   E' = E exp(-psi^0.45),   1 - xi = exp(-a psi)

    Where m >= 74 E^1.55 the electrons stop: transmitted share and energy are 0. Gradients are finite everywhere:
    psi^0.45 has an infinite slope at psi = 0, so psi is held above 1e-12 there, and the denominator above 0.
    """
    reach = 74 * energy_kev**1.55
    stopped = m >= reach
    psi = m / torch.where(stopped, 1.0, reach - m).clamp_min(1e-6)
    psi = torch.where(stopped, 0.0, psi).clamp_max(1e4)
    lost = torch.where(psi > 1e-12, psi.clamp_min(1e-12) ** 0.45, 0.0)
    below = torch.where(stopped, 0.0, energy_kev * torch.exp(-lost))
    return torch.where(stopped, 0.0, torch.exp(-a * psi)), below


def backscatter(
    thickness: Tensor, stack: Stack, contrast: str = "material", energies_kev: Sequence[float] | None = None
) -> Tensor:
    """Signal over bare substrate of a stack of layers.

    Parameters
    ----------
    thickness
        (..., l, y, x) [nm], layers bottom to top; float32 or float64, any device. Differentiable.
    contrast
        ``material``: I = sum_k b_k xi_k prod_{j>k}(1 - xi_j) + b_0 prod_j (1 - xi_j).
        ``published``: as the report's data were made: only the lowest layer present at a pixel backscatters, at
        the level of the first layer, and everything else counts as substrate:
        I = b_0 (1 - phi) + b_1 phi with phi = xi_k prod_{j>k}(1 - xi_j).
    energies_kev
        Beam energies [keV]; the stack's own when not given.

    Returns
    -------
    (..., e, y, x), dimensionless, 1 = bare substrate.

    Raises
    ------
    MicrotomoError
        For an unknown contrast or a layer axis that does not fit the stack.
    """
    _check(thickness.shape, stack, contrast)
    energies = torch.as_tensor(energies_kev or stack.energies_kev, dtype=thickness.dtype, device=thickness.device)
    energy = energies[:, None, None]
    b0 = stack.substrate.base_signal
    through = torch.ones_like(energy)  # prod_{j>k} (1 - xi_j), from the top down
    signal = torch.zeros_like(energy)
    phi = torch.zeros_like(energy)
    for k in reversed(range(len(stack.layers))):
        material = stack.layers[k].material
        d = thickness[..., k, None, :, :]
        passed, energy = layer_response(
            d * material.density_g_cm3**0.91, energy, attenuation_factor(material.atomic_number)
        )
        scattered = (1 - passed) * through
        signal = signal + material.base_signal * scattered
        phi = torch.where(d > 0, scattered, phi)
        through = through * passed
    if contrast == "published":
        return 1 + (stack.layers[0].material.base_signal / b0 - 1) * phi
    return signal / b0 + through


def fast_backscatter(
    thickness: np.ndarray, stack: Stack, contrast: str = "material", energies_kev: Sequence[float] | None = None
) -> np.ndarray:
    """:func:`backscatter` of one float32 array (l, y, x) [nm] by a compiled kernel on one core: (e, y, x) float32.

    Agrees with the tensor version to 1e-6, has no gradients and is about fifteen times as fast, more on terraces. A
    pixel's spectrum is the same to the bit wherever the pixel stands. Raises the same errors.
    """
    from microtomo.physics.kernels import fill_signal

    _check(thickness.shape, stack, contrast)
    energies = np.asarray(energies_kev or stack.energies_kev)
    materials = [layer.material for layer in stack.layers]
    depth = np.ascontiguousarray(thickness, dtype=np.float32).reshape(len(materials), -1)
    pixels = depth.shape[1]
    starts = np.flatnonzero(np.append(True, (depth[:, 1:] != depth[:, :-1]).any(0)))
    terraced = 2 * len(starts) < pixels  # one spectrum serves a whole run of equal pixels
    signal = np.empty((len(energies), len(starts) if terraced else pixels), dtype=np.float32)
    fill_signal(
        np.ascontiguousarray(depth[:, starts]) if terraced else depth,
        (74 * energies**1.55).astype(np.float32),
        np.array([m.density_g_cm3**0.91 for m in materials], dtype=np.float32),
        np.array([attenuation_factor(m.atomic_number) for m in materials], dtype=np.float32),
        np.array([m.base_signal / stack.substrate.base_signal for m in materials], dtype=np.float32),
        contrast == "published",
        signal,
    )
    if terraced:
        signal = np.repeat(signal, np.diff(starts, append=pixels), axis=1)
    return signal.reshape(len(energies), *thickness.shape[-2:])


def _check(shape: Sequence[int], stack: Stack, contrast: str) -> None:
    if contrast not in CONTRASTS:
        raise MicrotomoError(f"unknown contrast {contrast!r}: use {' or '.join(CONTRASTS)}")
    if len(shape) < 3 or shape[-3] != len(stack.layers):
        raise MicrotomoError(
            f"thickness has shape {tuple(shape)}; stack {stack.name} wants (..., {len(stack.layers)}, y, x)"
        )
