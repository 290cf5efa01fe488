"""Backscattered-electron signal of a layer stack: the analytic attenuation model (Rau & Reimer 2001)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from microtomo.materials import Material
from microtomo.physics.forward import ForwardModel, register_forward

RAU_REIMER = "Rau & Reimer, Scanning 23 (2001) 235"


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


def transmitted_share(material: Material, nm: float, energy_kev: float) -> float:
    """Share of a beam that comes through a layer, by :func:`layer_response`."""
    mass = torch.tensor(nm * material.density_g_cm3**0.91, dtype=torch.float64)
    energy = torch.tensor(energy_kev, dtype=torch.float64)
    return float(layer_response(mass, energy, attenuation_factor(material.atomic_number))[0])


@register_forward("material", citation=RAU_REIMER)
class Attenuation(ForwardModel):
    """Analytic attenuation model: each layer backscatters with its own base signal.

    I = sum_k b_k xi_k prod_{j>k}(1 - xi_j) + b_0 prod_j (1 - xi_j), over b_0.
    """

    lowest_layer_alone: ClassVar[bool] = False
    """Whether only the lowest layer that is present backscatters; the compiled kernel knows both sums."""

    def __call__(self, thickness: Tensor) -> Tensor:
        """See :meth:`ForwardModel.__call__`."""
        self.check_layers(thickness.shape)
        return self.total(thickness, list(self.shares(thickness)))

    def shares(self, thickness: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """From the top layer down: its index, the share (..., e, y, x) of the beam that it backscatters, and the share
        that comes through it and all above."""
        energy = torch.as_tensor(self.energies_kev, dtype=thickness.dtype, device=thickness.device)[:, None, None]
        through = torch.ones_like(energy)
        for k in reversed(range(len(self.stack.layers))):
            material = self.stack.layers[k].material
            mass = thickness[..., k, None, :, :] * material.density_g_cm3**0.91
            passed, energy = layer_response(mass, energy, attenuation_factor(material.atomic_number))
            scattered = (1 - passed) * through
            through = through * passed
            yield k, scattered, through

    def total(self, thickness: Tensor, shares: list[tuple[int, Tensor, Tensor]]) -> Tensor:
        """Signal (..., e, y, x) of the layers' shares."""
        signal = torch.zeros_like(shares[0][1])
        for k, scattered, _ in shares:
            signal = signal + self.stack.layers[k].material.base_signal * scattered
        return signal / self.stack.substrate.base_signal + shares[-1][2]

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """See :meth:`ForwardModel.fast`; agrees with the tensor version to 1e-6 and is about fifteen times as fast,
        more on terraces."""
        from microtomo.physics.kernels import fill_signal

        self.check_layers(thickness.shape)
        energies = np.asarray(self.energies_kev)
        materials = [layer.material for layer in self.stack.layers]
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
            np.array([m.base_signal / self.stack.substrate.base_signal for m in materials], dtype=np.float32),
            self.lowest_layer_alone,
            signal,
        )
        if terraced:
            signal = np.repeat(signal, np.diff(starts, append=pixels), axis=1)
        return signal.reshape(len(energies), *thickness.shape[-2:])

    def bulk_signal(self) -> Tensor:
        """b_k / b_0 at every energy."""
        levels = [layer.material.base_signal / self.stack.substrate.base_signal for layer in self.stack.layers]
        return torch.tensor(levels, dtype=torch.float64)[:, None].expand(-1, len(self.energies_kev))

    def transmitted(self, layer: int) -> float:
        """1 - xi of the layer."""
        there = self.stack.layers[layer]
        return transmitted_share(there.material, there.max_nm, self.energies_kev[-1])
