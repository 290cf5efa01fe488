"""Noise level from the scan itself."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from microtomo.inverse.misfit import Grid
from microtomo.physics.forward import ForwardModel

_COMPONENTS = 5  # of what the model can show, beside one for each layer


def estimate_noise(signal: Tensor, forward: ForwardModel) -> Tensor:
    """Relative noise level of each scan, (n,) from (n, e, y, x).

    The logarithms of all noise-free spectra of a stack lie close to a few principal components; what a scan has
    outside of them is noise, whatever the thicknesses. The median over pixels ignores regions that the stack
    cannot explain. Needs at least four energies more than components; with fewer energies fewer components are used.
    """
    basis = principal_spectra(forward, signal.device)
    e = len(basis)
    free = e - basis.shape[1]
    logs = signal.double().clamp_min(1e-6).log().flatten(2)
    rest = spectral_rest(logs, basis)
    # median of chi-square with `free` degrees of freedom (Wilson & Hilferty 1931)
    median = free * (1 - 2 / (9 * free)) ** 3
    variance = (rest**2).sum(1).median(1).values / median
    # the logarithm widens the noise: var(ln(1 + s n)) = s^2 (1 + 5/2 s^2 + ...)
    return torch.sqrt(variance / (1 + 2.5 * variance))


def spectral_rest(logs: Tensor, basis: Tensor) -> Tensor:
    """What logarithms of spectra (..., e, p) have outside of the components (e, k)."""
    return logs - basis @ (basis.T @ logs)


def principal_spectra(forward: ForwardModel, device: torch.device) -> Tensor:
    """The principal components (e, k) of the logarithms of all spectra of a stack, orthonormal."""
    return _components(forward).to(device)


@lru_cache(maxsize=4)
def _components(forward: ForwardModel) -> Tensor:
    steps = {1: 200, 2: 24, 3: 9, 4: 6}[len(forward.stack.layers)]
    axes = [torch.linspace(0, 1, steps, dtype=torch.float64) ** 1.5 * nm for nm in forward.stack.max_nm]
    logs = Grid(axes, forward).signal.log()
    count = max(0, min(_COMPONENTS + len(forward.stack.layers), len(logs) - 4))
    basis: Tensor = torch.linalg.svd(logs, full_matrices=False)[0][:, :count].clone()
    return basis
