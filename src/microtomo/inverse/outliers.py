"""Hot and dead values of a scan: found by the pixel's own spectrum, left out, and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from microtomo.inverse.misfit import starting_grid
from microtomo.inverse.noise import principal_spectra, spectral_rest
from microtomo.physics.forward import ForwardModel

_ODD = 6.0  # standard deviations of a value that noise does not give: once in a billion
_HINT = 0.7  # of that: a value that pulls the spectrum towards itself stands off less
_SHARE = 1 / 3  # of a spectrum: with more odd values the whole pixel is
_DARKEST = 0.05  # signal below which a logarithm says nothing
_RANGE = 5.0  # standard deviations outside all that the stack can give, at half of the energies
_LONELY, _AROUND = 0.3, 5  # share of odd pixels among those around, and pixels a side: more of them are a thing
_ODD_TOO = 2  # of the eight neighbours: so many less one may be odd as well
_POOR = 6.0  # standard deviations of chi-square
_MOST = 0.2  # of the values: a scan with more has another fault
_REACHES = (1, 2, 4)  # pixels that a substitute may come from


@dataclass(frozen=True)
class Cleaned:
    """A scan (e, y, x) with substitutes for what was rejected, and what was: ``rejected`` (e, y, x)."""

    signal: Tensor
    rejected: Tensor


def reject_outliers(signal: Tensor, forward: ForwardModel, noise: float) -> Cleaned:
    """Find values that no thickness of the stack gives beside the others of their pixel, and put others in their place.

    A value that stands six standard deviations off the spectrum that the rest of its pixel has is rejected and gets
    that spectrum's value. A pixel whose whole spectrum is odd, alone among its neighbours, gets that of the neighbour
    in the middle of those around. Regions that the stack does not explain stay: they are no accident of the detector.
    """
    e, height, width = signal.shape
    none = torch.zeros_like(signal, dtype=torch.bool)
    basis = principal_spectra(forward, signal.device)
    if e < basis.shape[1] + 4 or min(height, width) < _AROUND:
        return Cleaned(signal, none)
    pixels = signal.flatten(1)
    rest = spectral_rest(pixels.clamp_min(_DARKEST).log(), basis.to(signal))
    width_of = noise * (1 - (basis**2).sum(1)).clamp_min(0.05).sqrt()[:, None].to(signal)
    suspect = torch.nonzero((rest.abs() > _HINT * _ODD * width_of).any(0) | (pixels < _DARKEST).any(0))[:, 0]
    odd = none.flatten(1).clone()
    whole = _out_of_range(signal, forward, noise).flatten()
    mended = pixels.clone()
    if len(suspect):
        found, spectra = _single(pixels[:, suspect].double().clamp_min(_DARKEST).log(), basis, noise)
        many = found.float().mean(0) > _SHARE
        odd[:, suspect] = found & ~many
        whole[suspect[many]] = True
        mended[:, suspect] = torch.where(found, spectra.exp().to(signal), mended[:, suspect])
    whole = whole | _isolated_and_poor(mended.reshape_as(signal), forward, noise).flatten()
    lonely = uniform_filter(whole.reshape(height, width).cpu().numpy().astype(np.float32), _AROUND, mode="nearest")
    whole &= torch.from_numpy(lonely < _LONELY).flatten().to(whole.device)
    rejected = (odd | whole).reshape_as(signal)
    if not bool(rejected.any()) or float(rejected.float().mean()) > _MOST:
        return Cleaned(signal, none)
    filled = torch.where(rejected, mended.reshape_as(signal), signal)
    return Cleaned(_from_neighbours(filled, whole.reshape(height, width)), rejected)


def _single(logs: Tensor, basis: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Which values (e, p) are odd, the worst first and never more than a third and one, and the spectra (e, p) that the
    others have."""
    e, count = basis.shape
    found = torch.zeros_like(logs, dtype=torch.bool)
    fitted = basis @ (basis.T @ logs)
    active = torch.ones(logs.shape[1], dtype=torch.bool, device=logs.device)
    for _ in range(int(e * _SHARE) + 1):
        kept = (~found[:, active]).to(logs)
        normal = torch.einsum("ei,ej,ep->pij", basis, basis, kept) + 1e-9 * torch.eye(count).to(logs)
        inverse = torch.linalg.inv(normal)
        right = (basis.T @ (kept * logs[:, active])).T
        fitted[:, active] = basis @ torch.einsum("pij,pj->ip", inverse, right)
        leverage = torch.einsum("ei,pij,ej->ep", basis, inverse, basis)
        spread = noise * torch.where(kept > 0, 1 - leverage, 1 + leverage).clamp_min(0.05).sqrt()
        # the logarithm is steeper below: a relative deviation is what has a standard deviation
        off = (torch.expm1(logs[:, active] - fitted[:, active]) / spread).abs() * kept
        worst, which = off.max(0)
        more = torch.nonzero(active)[:, 0][worst > _ODD]
        if not len(more):
            break
        found[which[worst > _ODD], more] = True
        active = torch.zeros_like(active).index_fill_(0, more, True)
    return found, fitted


def _out_of_range(signal: Tensor, forward: ForwardModel, noise: float) -> Tensor:
    """Pixels (y, x) beyond anything that the stack can give at half of the energies and more."""
    grid = starting_grid(forward)
    known = torch.cat([grid.signal, forward.bulk_signal().T.to(grid.signal)], 1).to(signal)
    low, high = known.amin(1) * (1 - _RANGE * noise), known.amax(1) * (1 + _RANGE * noise)
    beyond = (signal < low[:, None, None]) | (signal > high[:, None, None])
    return beyond.float().mean(0) > 0.5


def _isolated_and_poor(signal: Tensor, forward: ForwardModel, noise: float) -> Tensor:
    """Pixels (y, x) that differ from all around them and that no thickness explains."""
    e, height, width = signal.shape
    thirds = torch.stack([part.mean(0) for part in signal.chunk(3)])
    padded = torch.nn.functional.pad(thirds[None], (1, 1, 1, 1), mode="replicate")[0]
    around = torch.stack([
        padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
    ])  # fmt: skip
    limit = _ODD * noise / (e / 3) ** 0.5
    ordered = around.sort(0).values
    apart = ((thirds > ordered[-_ODD_TOO] * (1 + limit)) | (thirds < ordered[_ODD_TOO - 1] * (1 - limit))).any(0)
    pixels = torch.nonzero(apart.flatten())[:, 0]
    poor = torch.zeros_like(apart).flatten()
    if len(pixels):
        spectra = signal.flatten(1)[:, pixels]
        known = starting_grid(forward).signal.to(signal)
        least = torch.stack([((s[:, None] / known - 1) ** 2).sum(0).min() for s in spectra.T]) / noise**2
        poor[pixels] = least > 1.5 * e + _POOR * (2 * e) ** 0.5
    return poor.reshape(height, width)


def _from_neighbours(signal: Tensor, whole: Tensor) -> Tensor:
    """The scan with each pixel of ``whole`` (y, x) replaced by the good neighbour whose brightness is in the middle of
    all good ones around."""
    result, bright = signal.clone(), signal.mean(0)
    for y, x in torch.nonzero(whole).tolist():
        for reach in _REACHES:
            rows, columns = slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)
            good = torch.nonzero(~whole[rows, columns]) + torch.tensor([rows.start, columns.start], device=whole.device)
            if len(good):
                order = bright[good[:, 0], good[:, 1]].argsort()
                result[:, y, x] = signal[:, *good[order[len(order) // 2]]]
                break
    return result
