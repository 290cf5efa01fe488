"""Whether what was recorded can be inverted: noise, saturation, drift, substrate, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CLIPPED = 1e-3  # share of pixels that is worth a word
_SATURATED = 0.01  # share of pixels that spoils an energy
_NOISY, _TOO_NOISY = 0.06, 0.20  # relative
_UNSURE = 0.5  # [pixels]
_COARSE = 2.0  # grey levels in one standard deviation of the noise
_ODD = 0.03  # relative misfit of the spectra


@dataclass(frozen=True)
class Levels:
    """Grey levels of the recorded images, one value an energy: share of pixels at the top of the range (``saturated``)
    and at its bottom (``black``), relative noise from local differences (``noise``), standard deviation of it in grey
    levels (``noise_steps``); ``top`` is the end of the range, None for numbers without one."""

    saturated: np.ndarray
    black: np.ndarray
    noise: np.ndarray
    noise_steps: np.ndarray
    top: float | None


@dataclass(frozen=True)
class Finding:
    """A sentence about the data; ``grave`` where it means that the result cannot be trusted."""

    text: str
    grave: bool = False


def measure_levels(images: np.ndarray, dark: float = 0.0) -> Levels:
    """Levels of images (e, y, x) as recorded, not yet moved: interpolation would hide noise.

    The noise is that of Immerkaer (Comput. Vis. Image Underst. 64 (1996) 300): a filter that any plane passes without
    a trace, here with the median of its absolute value, so that edges do not count; over the mean signal
    above ``dark``.
    """
    top = full_scale(images)
    count = len(images)
    saturated = np.zeros(count) if top is None else (images >= top).mean((1, 2))
    bottom = 0 if images.dtype.kind in "iu" else -np.inf
    noise, steps = np.zeros(count), np.zeros(count)
    for e, image in enumerate(images):
        spread = local_noise(image)
        signal = float(image.mean(dtype=float)) - dark
        noise[e] = spread / signal if signal > 0 else np.inf
        steps[e] = spread if images.dtype.kind in "iu" else np.inf
    return Levels(saturated, (images <= bottom).mean((1, 2)), noise, steps, top)


def full_scale(images: np.ndarray) -> float | None:
    """The top of the range of whole-number images: 255, 1023, 4095, 16383 or 65535, whichever the brightest pixels
    reach, else that of the type; None for floating-point numbers and large integers."""
    if images.dtype.kind not in "iu" or images.dtype.itemsize > 2:
        return None
    brightest = int(images.max())
    for bits in (8, 10, 12, 14):
        # several pixels at exactly the top of a smaller range: the digitiser's end, not chance
        if brightest == 2**bits - 1 and (images == brightest).sum() > 1e-4 * images.size:
            return float(brightest)
    return float(np.iinfo(images.dtype).max)


def local_noise(image: np.ndarray) -> float:
    """Standard deviation of the noise of one image (y, x), in its own units, edges left out; 0 below 3 x 3 pixels."""
    if min(image.shape) < 3:
        return 0.0
    v = image.astype(float)
    rows = v[:-2] - 2 * v[1:-1] + v[2:]
    second = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(second))) / 0.67449 / 6  # 6 = sqrt of the sum of squares of the filter


def verdict(
    levels: Levels,
    energies_kev: Sequence[float],
    *,
    dark: float | None,
    shift_error_px: np.ndarray | None,
    unregistered_px: float | None,
    substrate_noise: np.ndarray,
    gain_error: np.ndarray,
    misfit: float,
) -> list[Finding]:
    """What speaks against trusting an inversion, gravest first; nothing where nothing does.

    ``dark`` None: not given. ``shift_error_px`` (e, 2): errors of the registration, None without one.
    ``unregistered_px``: largest shift that was left in. ``substrate_noise`` (e,): relative scatter of the substrate.
    """
    findings = [
        *_level_findings(levels, energies_kev),
        *_shift_findings(energies_kev, shift_error_px, unregistered_px),
        *_substrate_findings(levels, substrate_noise, gain_error, misfit),
    ]
    if dark is None:
        findings.append(Finding(
            "no dark level was given and none subtracted: if the images are not black without a beam, every "
            "contrast is too small; record an image with the beam blanked and give its level as --dark"
        ))  # fmt: skip
    gaps = missing_energies(energies_kev)
    if gaps:
        findings.append(Finding(
            f"the series lacks {_listed(gaps)} keV: the inversion does without them, but HyperSpy shows uneven "
            "energies by number"
        ))  # fmt: skip
    return sorted(findings, key=lambda finding: not finding.grave)


def _level_findings(levels: Levels, energies_kev: Sequence[float]) -> list[Finding]:
    findings: list[Finding] = []

    def at(which: Any) -> str:
        return _listed(np.asarray(energies_kev)[which])

    clipped = levels.saturated > _CLIPPED
    if clipped.any():
        findings.append(Finding(
            f"up to {levels.saturated.max():.1%} of the pixels are saturated ({at(clipped)} keV): their true signal is "
            "higher, so layers there come out wrong; lower contrast or brightness and scan again",
            bool(levels.saturated.max() > _SATURATED),
        ))  # fmt: skip
    black = levels.black > _CLIPPED
    if black.any():
        findings.append(Finding(
            f"up to {levels.black.max():.1%} of the pixels are black ({at(black)} keV): the detector's range was cut "
            "off below; raise its brightness and scan again",
            bool(levels.black.max() > _SATURATED),
        ))  # fmt: skip
    usual = float(np.median(levels.noise))
    if usual > _NOISY:
        findings.append(Finding(
            f"the noise is {usual:.1%} a pixel and energy: thin layers drown in it; scan slower or with more current, "
            "or average frames",
            usual > _TOO_NOISY,
        ))  # fmt: skip
    coarse = levels.noise_steps < _COARSE
    if coarse.any():
        findings.append(Finding(
            f"the noise is less than {_COARSE:g} grey levels ({at(coarse)} keV): rounding adds errors that do not "
            "average out; save 16 bits, or use more of the range"
        ))  # fmt: skip
    return findings


def _shift_findings(
    energies_kev: Sequence[float], shift_error_px: np.ndarray | None, unregistered_px: float | None
) -> list[Finding]:
    findings: list[Finding] = []

    def at(which: Any) -> str:
        return _listed(np.asarray(energies_kev)[which])

    if shift_error_px is not None and (shift_error_px.max(1) > _UNSURE).any():
        unsure = shift_error_px.max(1) > _UNSURE
        findings.append(Finding(
            f"the shifts are known to {shift_error_px.max():.1f} pixels only ({at(unsure)} keV), as they show "
            "too little contrast over their noise: edges come out wrong",
            bool(shift_error_px.max() > 4 * _UNSURE),
        ))  # fmt: skip
    if unregistered_px is not None and unregistered_px > _UNSURE:
        findings.append(Finding(
            f"the images are shifted by up to {unregistered_px:.1f} pixels and were not registered: spectra near "
            "edges mix layers; leave --no-register out",
            unregistered_px > 2,
        ))  # fmt: skip
    return findings


def _substrate_findings(
    levels: Levels, substrate_noise: np.ndarray, gain_error: np.ndarray, misfit: float
) -> list[Finding]:
    findings: list[Finding] = []
    usual = float(np.median(levels.noise))
    uneven = substrate_noise > 1.5 * np.maximum(levels.noise, 1e-6)
    if uneven.mean() > 0.5:
        findings.append(Finding(
            f"the substrate region scatters by {np.median(substrate_noise):.1%}, the images by {usual:.1%} from "
            "pixel to pixel: it is not bare substrate alone, or lit unevenly; choose another --substrate"
        ))  # fmt: skip
    if gain_error.max() > 0.01:
        findings.append(Finding(
            f"the gain is known to {gain_error.max():.1%} only: the substrate region is small; choose a "
            "larger one with --substrate"
        ))  # fmt: skip
    if misfit > _ODD:
        findings.append(Finding(
            f"the spectra differ by {misfit:.1%} from any that the stack can give: check --stack, --contrast, --dark "
            "and --substrate",
            misfit > 3 * _ODD,
        ))  # fmt: skip
    return findings


def missing_energies(energies_kev: Sequence[float]) -> list[float]:
    """Energies [keV] that an otherwise even series leaves out; none where less than three quarters of it are there."""
    steps = np.diff(energies_kev)
    if len(steps) < 2:
        return []
    step = float(np.median(steps))
    count = round((energies_kev[-1] - energies_kev[0]) / step) + 1
    even = energies_kev[0] + step * np.arange(count)
    there = [bool(np.isclose(energies_kev, e, atol=0.05 * step).any()) for e in even]
    return [float(e) for e, t in zip(even, there, strict=True) if not t] if np.mean(there) >= 0.75 else []


def _listed(energies: Sequence[float]) -> str:
    shown = [f"{e:g}" for e in energies]
    return ", ".join(shown) if len(shown) <= 6 else f"{shown[0]} to {shown[-1]}, {len(shown)} energies,"
