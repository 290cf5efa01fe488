"""From what a microscope saved to a scan: dark level, registration, substrate, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.acquisition.quality import Finding, Levels, measure_levels, verdict
from microtomo.acquisition.recording import Recording, assemble
from microtomo.acquisition.registration import Shifts, common_field, measure_shifts, registered
from microtomo.acquisition.substrate import Substrate, find_substrate, given_substrate
from microtomo.errors import MicrotomoError
from microtomo.io.hashing import sha256_of
from microtomo.io.nexus import nexus_file
from microtomo.io.recorded import read_frames
from microtomo.materials import Stack, load_stack
from microtomo.physics.forward import forward_model
from microtomo.registry import DEFAULT_FORWARD
from microtomo.scan import Scan, check_region

DEFAULT_PIXEL_NM = 10.0
"""Pixel size of a scan whose files state none."""

_MANY_NEGATIVE = 0.01  # share of values below the dark level that noise does not explain


@dataclass(frozen=True)
class Imported:
    """A scan and how it came about.

    ``shifts`` is None where none could be measured (and none was asked to be undone); ``field`` are the rows and
    columns of the reference image that the scan shows; ``substrate`` is in the scan's own pixels; ``findings`` say
    what speaks against trusting an inversion.
    """

    scan: Scan
    recording: Recording
    levels: Levels
    shifts: Shifts | None
    corrected: bool
    field: tuple[slice, slice]
    substrate: Substrate
    substrate_noise: np.ndarray
    findings: tuple[Finding, ...]
    dark: float | None

    @property
    def trusted(self) -> bool:
        """Whether nothing grave was found."""
        return not any(f.grave for f in self.findings)

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        if not self.trusted:
            return "Do not trust an inversion of this scan."
        return "An inversion of this scan can be trusted" + (", with care." if self.findings else ".")


def import_stack(
    places: Sequence[str | Path] | str | Path,
    *,
    energies_kev: Sequence[float] | None = None,
    dark: float | None = None,
    substrate: tuple[slice, slice] | None = None,
    pixel_nm: float | None = None,
    register: bool = True,
    reference_kev: float | None = None,
    keep_field: bool = False,
    stack: Stack | str | Path = "au-al-si",
    forward: str = DEFAULT_FORWARD,
    energy_pattern: str | None = None,
) -> Imported:
    """Read, register and normalise the images of a multi-energy scan.

    Parameters
    ----------
    places
        Files, folders or patterns: one file an energy, or a stack in one file.
    dark
        Counts without a beam; None for none, which the verdict then mentions.
    substrate
        Rows and columns of bare substrate in the image at ``reference_kev``; found when not given.
    reference_kev
        The image that all others are moved to; the middle one when not given.
    energy_pattern
        Where names say their energy: ``scan_{kev}_*.tif``, see :func:`microtomo.io.names.energy_by_pattern`.
    keep_field
        Keep the size of the images: where not all energies see, the nearest row or column is repeated.

    Raises
    ------
    MicrotomoError
        For anything that cannot become a scan, with what to do.
    """
    chosen = load_stack(stack)
    named = [places] if isinstance(places, str | Path) else list(places)
    recording = assemble(read_frames(named, energies_kev, energy_pattern), energies_kev, pixel_nm)
    energies = recording.energies_kev
    chosen = chosen.model_copy(update={"energies_kev": energies})
    reference = _reference(energies, reference_kev)
    if substrate is not None:
        check_region(*substrate, recording.images.shape, "substrate region")
    level = dark or 0.0
    levels = measure_levels(recording.images, level)
    signal = _above_dark(recording, level)
    shifts = _shifts(signal, energies, reference, register)
    field = (slice(0, signal.shape[1]), slice(0, signal.shape[2]))
    if register and shifts is not None:
        if not keep_field:
            field = common_field(shifts.pixels, signal.shape)
        signal = registered(signal, shifts.pixels)[:, field[0], field[1]]
    if substrate is None:
        bare = find_substrate(signal, forward_model(forward, chosen))
    else:
        bare = given_substrate(signal, *_inside(substrate, field), forward_model(forward, chosen))
    scatter = _substrate_noise(recording.images, bare, field, shifts if register else None, level)
    findings = verdict(
        levels,
        energies,
        dark=dark,
        shift_error_px=shifts.error if register and shifts is not None else None,
        unregistered_px=shifts.largest if not register and shifts is not None else None,
        substrate_noise=scatter,
        gain_error=bare.gain_error,
        misfit=bare.misfit,
    )
    normalised = signal / bare.gain.astype(np.float32)[:, None, None]
    findings = [*_below_dark(normalised, level), *findings]
    noise, size = float(np.median(levels.noise)), recording.pixel_nm or DEFAULT_PIXEL_NM
    scan = Scan(np.maximum(normalised, 0), energies, size, chosen, forward, noise)
    undone = register and shifts is not None
    imported = Imported(scan, recording, levels, shifts, undone, field, bare, scatter, tuple(findings), dark)
    imported.scan.history.update({"import": history(imported)})
    return imported


def part_of(imported: Imported, roi: tuple[slice, slice] | None, mask: np.ndarray | None) -> Scan:
    """The scan with what ``mask`` (y, x) leaves out as NaN, cropped to ``roi``: both in pixels of the reference image,
    the mask also in those of the scan. Raises MicrotomoError for a region outside, and for a mask of another size."""
    scan, recorded = imported.scan, imported.recording.images.shape
    if mask is not None:
        scan = scan.masked(mask[imported.field] if mask.shape == recorded[1:] else mask)
    if roi is not None:
        check_region(*roi, recorded, "region of interest")
        scan = scan.cropped(*_inside(roi, imported.field))
    return scan


def _above_dark(recording: Recording, level: float) -> np.ndarray:
    """The images (e, y, x) less the dark level. Raises MicrotomoError where that leaves nothing of one."""
    signal = recording.images.astype(np.float32) - np.float32(level)
    if (dim := signal.mean((1, 2)) <= 0).any():
        raise MicrotomoError(
            f"the image at {recording.energies_kev[int(dim.argmax())]:g} keV is darker than the dark level {level:g}: "
            "check --dark (counts without a beam)"
        )
    return signal


def _below_dark(normalised: np.ndarray, level: float) -> list[Finding]:
    negative = int((normalised < 0).sum())
    text = f"{negative} values below the dark level were set to zero: is --dark {level:g} too high?"
    return [Finding(text, negative > _MANY_NEGATIVE * normalised.size)] if negative else []


def history(imported: Imported) -> dict[str, Any]:
    """What was done, as it is kept with the scan: files with their hashes, shifts, field, substrate, gain, verdict."""
    rows, columns = imported.substrate.box
    result: dict[str, Any] = {
        "files": {str(p): sha256_of(nexus_file(p)) for p in imported.recording.files},
        "dark": imported.dark,
        "pixel_nm": "not given: 10 nm taken" if imported.recording.pixel_nm is None else imported.recording.pixel_nm,
        "registered": imported.corrected,
        "field": {"rows": _ends(imported.field[0]), "columns": _ends(imported.field[1])},
        "substrate": {
            "given": imported.substrate.given, "rows": _ends(rows), "columns": _ends(columns),
            "pixels": int(imported.substrate.mask.sum()), "misfit": _rounded(imported.substrate.misfit),
        },
        "gain": _rounded(imported.substrate.gain), "gain_error": _rounded(imported.substrate.gain_error),
        "noise": _rounded(imported.levels.noise), "substrate_noise": _rounded(imported.substrate_noise),
        "saturated": _rounded(imported.levels.saturated),
        "verdict": imported.summary, "findings": [f.text for f in imported.findings],
    }  # fmt: skip
    if imported.shifts is not None:
        result["shifts_px"] = _rounded(imported.shifts.pixels)
        result["shift_error_px"] = _rounded(imported.shifts.error)
        result["reference_kev"] = imported.recording.energies_kev[imported.shifts.reference]
    return result


def _reference(energies: Sequence[float], wanted: float | None) -> int:
    if wanted is None:
        return len(energies) // 2
    matching = [i for i, e in enumerate(energies) if np.isclose(e, wanted, atol=1e-3)]
    if not matching:
        near = min(energies, key=lambda e: abs(e - wanted))
        raise MicrotomoError(
            f"--reference {wanted:g}: there is no image at {wanted:g} keV; the nearest is {near:g} keV"
        )
    return matching[0]


def _shifts(signal: np.ndarray, energies: Sequence[float], reference: int, register: bool) -> Shifts | None:
    """Measured even where they are not to be undone, so that the report can tell what is left in."""
    if len(signal) < 2:
        return None
    if register:
        return measure_shifts(signal, energies, reference)
    try:
        return measure_shifts(signal, energies, reference, must_match=False)
    except MicrotomoError as error:
        if "quarter of the field" in str(error):
            raise
        return None


def _inside(substrate: tuple[slice, slice], field: tuple[slice, slice]) -> tuple[slice, slice]:
    """Rows and columns of the reference image in the pixels of the field that was kept."""
    parts = []
    for part, kept in zip(substrate, field, strict=True):
        start, stop = part.start or 0, kept.stop if part.stop is None else part.stop
        low, high = max(start, kept.start) - kept.start, min(stop, kept.stop) - kept.start
        parts.append(slice(low, max(low, high)))
    return parts[0], parts[1]


def _substrate_noise(
    images: np.ndarray, bare: Substrate, field: tuple[slice, slice], shifts: Shifts | None, dark: float
) -> np.ndarray:
    """Relative scatter (e,) of the substrate's pixels as recorded, looked up where each image shows it."""
    y, x = np.nonzero(bare.mask)
    scatter = np.zeros(len(images))
    for e, image in enumerate(images):
        dy, dx = (0, 0) if shifts is None else np.round(shifts.pixels[e]).astype(int)
        rows = np.clip(y + field[0].start + dy, 0, image.shape[0] - 1)
        columns = np.clip(x + field[1].start + dx, 0, image.shape[1] - 1)
        values = image[rows, columns].astype(float) - dark
        scatter[e] = values.std() / max(values.mean(), 1e-12)
    return scatter


def _ends(part: slice) -> list[int]:
    return [int(part.start), int(part.stop)]


def _rounded(values: Any) -> Any:
    """Plain numbers with six digits, for JSON."""
    if isinstance(values, np.ndarray):
        return [_rounded(v) for v in values]
    value = float(f"{values:.6g}")
    return value if np.isfinite(value) else None
