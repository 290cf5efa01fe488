"""What a scan can tell of the thicknesses at all: Fisher information and the Cramer-Rao bound of single pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import ForwardModel

_THINNEST = 1 / 300  # of the range: psi^0.45 has an infinite slope where a layer vanishes
_BLIND = 1e4  # ranges: so far apart are the ends of the prior that makes every matrix invertible


def image_information(
    thickness: Tensor,
    forward: ForwardModel,
    *,
    detector: Detector | None = None,
    dose: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Fisher information (e, l, l, ...) [1/nm^2] of the thicknesses in each image of a scan.

    Pixels are independent, and so are images: what a scan of any energies holds is the sum over its images.

    Parameters
    ----------
    thickness
        (l, ...) [nm], layers bottom to top. Layers thinner than 1/300 of their range are taken to be that thick: where
        a layer vanishes the slope of the signal may be infinite, or the signal may jump.
    detector
        Noise of one image: relative Gaussian noise s, detected electrons n on bare substrate, or both. 2 % when not
        given. Gain and offset are taken to be known: they change nothing.
    dose
        (e,) >= 0, dose of each image in units of the detector's: w makes n w electrons, or noise s / sqrt(w).
        1 for all when not given.

    Notes
    -----
    For a mean I(d) and a variance v(I), both known functions,

        F = (dI/dd) (dI/dd)^T J(I),   J = [1, v'] [[v, k3], [k3, k4 + 2 v^2]]^-1 [1, v']^T

    with the third and fourth cumulants k3, k4 of the noise: what its first two moments tell (Jarrett, Biometrika 71
    (1984) 101). It is all there is to tell for Gaussian noise of any variance (Kay, Fundamentals of Statistical Signal
    Processing (1993), eq. 3.31): there J = 1/v + v'^2 / (2 v^2), and for I_obs = I (1 + s n) therefore
    J = (1 / s^2 + 2) / I^2, the 2 being what the width of the scatter says of I. It is also all for Poisson
    counts, J = n / I. For both together it is a lower bound, in which little is missing.

    Raises
    ------
    MicrotomoError
        For a detector without noise, and for doses or thicknesses that do not fit.
    """
    detector = detector or Detector()
    if detector.relative_noise == 0:
        raise MicrotomoError("a detector without noise tells everything: give a noise level or a number of electrons")
    stack, energies = forward.stack, forward.energies_kev
    if thickness.ndim < 1 or thickness.shape[0] != len(stack.layers):
        raise MicrotomoError(
            f"thickness has shape {tuple(thickness.shape)}; stack {stack.name} wants {len(stack.layers)} layers first"
        )
    flat = thickness.double().flatten(1) if thickness.ndim > 1 else thickness.double()[:, None]
    weight = torch.ones(len(energies)).to(flat) if dose is None else torch.as_tensor(dose).to(flat)
    if weight.shape != (len(energies),) or not bool((torch.isfinite(weight) & (weight >= 0)).all()):
        raise MicrotomoError(f"dose: give {len(energies)} numbers of 0 or more, one an energy")
    top = torch.tensor(stack.max_nm).to(flat)[:, None]

    def response(d: Tensor) -> Tensor:
        return forward(d[:, None])[:, 0]

    at = flat.maximum(_THINNEST * top)
    signal = response(at)
    slope = torch.stack([torch.func.jvp(response, (at,), (_along(at, k),))[1] for k in range(len(at))])  # (l, e, p)
    each = torch.einsum("jep,kep,ep->ejkp", slope, slope, _per_signal(signal, detector, weight[:, None]))
    return each.reshape(*each.shape[:3], *thickness.shape[1:]).to(thickness)


def _along(at: Tensor, k: int) -> Tensor:
    direction = torch.zeros_like(at)
    direction[k] = 1
    return direction


def _per_signal(signal: Tensor, detector: Detector, weight: Tensor) -> Tensor:
    """J of :func:`image_information` (e, p) for signals (e, p) with ``weight`` (e, 1) of the detector's dose."""
    seen = weight > 0
    weight = torch.where(seen, weight, 1.0)
    s2 = detector.noise**2 / weight
    if detector.electrons_per_pixel is None:
        information = (1 / s2 + 2) / signal**2
    else:  # moments of c (1 + s n) for Poisson counts c of mean m, then in units of counts on bare substrate
        per = detector.electrons_per_pixel * weight
        m = signal * per
        c2, c4 = m**2 + m, m**4 + 6 * m**3 + 7 * m**2 + m
        v, dv = m + s2 * c2, 1 + s2 * (2 * m + 1)
        k3 = m + 3 * s2 * (2 * m**2 + m)
        fourth = 3 * m**2 + m + 6 * s2 * (m**3 + 5 * m**2 + m) + 3 * s2**2 * c4
        spread = fourth - v**2  # variance of the squared deviation, k4 + 2 v^2
        information = (spread - 2 * k3 * dv + v * dv**2) / (v * spread - k3**2) * per**2
    return torch.where(seen, information, 0.0)


def fisher_information(
    thickness: Tensor,
    forward: ForwardModel,
    *,
    detector: Detector | None = None,
    dose: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Fisher information (l, l, ...) [1/nm^2] of a whole scan: the sum of :func:`image_information` over energies."""
    return image_information(thickness, forward, detector=detector, dose=dose).sum(0)


def relative_information(log_slope: Tensor, noise: float) -> Tensor:
    """Fisher information (l, l, p) [1/nm^2] from log slopes (l, e, p) [1/nm] for I_obs = I (1 + s n): sum / s^2.

    :func:`image_information` adds 2 to 1 / s^2, what the width of the scatter tells. Here it is left out: solvers use
    this as the Gauss-Newton matrix of squared residuals, too, which has no such term (.08 % at 2 % noise, 2 % at 10 %).
    """
    return torch.einsum("jep,kep->jkp", log_slope, log_slope) / noise**2


def precision_nm(fisher: Tensor, stack: Stack, *, within_range: bool = False) -> Tensor:
    """Standard deviation (..., l, p) [nm] that goes with Fisher information (..., l, l, p), p pixels of any number.

    The Cramer-Rao bound: no unbiased estimate from one pixel scatters less. Infinite where the scan does not tell a
    layer's thickness at all. ``within_range`` joins the information to a flat prior of the range, of deviation
    range / sqrt(12): about the error of a good estimate that keeps to the range, finite everywhere.
    """
    top = torch.tensor(stack.max_nm).to(fisher)
    scaled = fisher.double() * (top[:, None] * top)[..., None].double()  # in units of the range
    ridge = 12.0 if within_range else _BLIND**-2
    inverse = torch.linalg.inv(scaled.movedim(-1, -3) + ridge * torch.eye(len(top)).to(scaled))
    deviation = inverse.diagonal(dim1=-2, dim2=-1).movedim(-1, -2).clamp_min(0).sqrt()
    if not within_range:
        deviation = torch.where(deviation > _BLIND / 100, torch.inf, deviation)
    scattered: Tensor = deviation.to(fisher) * top[:, None]
    return scattered
