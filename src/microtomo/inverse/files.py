"""Reconstruct a file: every sample of it, a few at a time, into another file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, naming
from microtomo.inverse.reconstruct import reconstruct
from microtomo.inverse.spread import CORRECTION, note, outcome
from microtomo.io.atomic import check_output
from microtomo.io.micrographs import read_mask
from microtomo.io.reconstructions import new_reconstruction
from microtomo.io.sources import ScanSource, open_scan
from microtomo.registry import DEFAULT_FORWARD, get_method
from microtomo.scan import Reconstruction, Scan, Status, Verdict

BATCH_BYTES = 64e6
"""Signal in memory at a time: small beside what methods need for it, large beside the cost of a call."""
_MOST_SAMPLES = 64  # of a batch
_MANY = 0.05  # share of pixels with a status that is worth a warning
_MOST_SENTENCES = 5  # on single scans of a file


class Summary:
    """How the reconstruction of all samples of a file went; ``notes`` are sentences about what was assumed."""

    def __init__(self) -> None:
        self.samples = 0
        self.notes: list[str] = []
        self._pixels: Counter[Status] = Counter()
        self._chi_square: list[tuple[float, int]] = []  # sum and number of the finite ones of each batch
        self._seconds = self._noise = 0.0
        self._method = self._forward = ""
        self._correction: dict[str, Any] = {}
        self._verdicts: list[Verdict] = []

    def add(self, rec: Reconstruction) -> None:
        """Count a batch."""
        status, chi_square = np.asarray(rec.status), np.asarray(rec.chi_square, dtype=float)
        self._pixels.update({code: int((status == code).sum()) for code in Status})
        count = len(status) if status.ndim == 3 else 1
        self.samples += count
        finite = chi_square[np.isfinite(chi_square)]
        self._chi_square.append((float(finite.sum()), finite.size))
        self._seconds += rec.seconds
        self._noise += rec.noise * count
        self._method, self._forward = rec.method, rec.forward
        self._add_correction(rec.history.get(CORRECTION, {}))
        self._verdicts.extend(rec.verdicts)

    def _add_correction(self, correction: Mapping[str, Any]) -> None:
        """Count what a batch says of the correction of its spread; its first batch also says what was assumed."""
        if not self._correction and (sentence := note({CORRECTION: correction})):
            self.notes.append(sentence)
        for name, value in correction.items():
            known = self._correction.get(name, [])
            self._correction[name] = [*known, *value] if isinstance(value, list) else value

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``status`` are shares of the pixels, ``noise`` the mean over samples."""
        total, fitted = (sum(values) for values in zip(*self._chi_square, strict=True))
        return {
            "method": self._method,
            "forward": self._forward,
            "samples": self.samples,
            "noise": self._noise / self.samples,
            "chi_square": total / fitted if fitted else None,
            "status": {
                code.name.lower(): count / self._pixels.total()
                for code, count in self._pixels.items()
                if count or code != Status.MASKED
            },
            "seconds": self._seconds,
            "rejected": sum(v.rejected for v in self._verdicts),
            "verdicts": [v.as_dict() for v in self._verdicts],
            **({CORRECTION: self._correction} if self._correction else {}),
        }

    def line(self) -> str:
        """The same in a line."""
        values = self.as_dict()
        shares = ", ".join(f"{s:.1%} {name.replace('_', ' ')}" for name, s in values["status"].items() if s)
        count = f"{self.samples} samples, " if self.samples > 1 else ""
        corrected = outcome(values)
        fit = "none" if values["chi_square"] is None else f"{values['chi_square']:.2f}"
        return (
            f"{self._method} ({self._forward}): {count}{shares}; mean chi-square {fit}; "
            f"noise {values['noise']:.1%}; {f'{corrected}; ' if corrected else ''}{self._seconds:.2f} s"
        )

    def warnings(self) -> list[str]:
        """A sentence for each verdict that says something, and for each status that many pixels have."""
        pixels = self._pixels.total()
        return [
            *self._said(),
            *(
                f"{count / pixels:.1%} of the pixels: {code.message}"
                for code, count in self._pixels.items()
                if code not in (Status.OK, Status.MASKED) and count > _MANY * pixels and not self._explained(code)
            ),
        ]

    def _said(self) -> list[str]:
        """A sentence for each scan that cannot be trusted or was put right, the first few of many."""
        several = len(self._verdicts) > 1
        lines = [
            f"scan {i}: {v.line}" if several else v.line
            for i, v in enumerate(self._verdicts)
            if not v.trusted or v.correction or v.rejected
        ]
        more = len(lines) - _MOST_SENTENCES
        return lines if more <= 0 else [*lines[:_MOST_SENTENCES], f"and {more} more scans; the file has every verdict"]

    def _explained(self, code: Status) -> bool:
        """Whether the verdicts name a cause that the advice of a status would contradict."""
        return code in (Status.OUT_OF_RANGE, Status.POOR_FIT) and not all(v.trusted for v in self._verdicts)


def reconstruct_file(
    path: str | Path,
    output: str | Path,
    method: str,
    *,
    given: Mapping[str, Any] | None = None,
    samples: slice | None = None,
    substrate: tuple[slice, slice] | None = None,
    roi: tuple[slice, slice] | None = None,
    mask: Path | None = None,
    timed: bool = True,
    batch: int | None = None,
    batch_bytes: float = BATCH_BYTES,
    progress: Callable[[int, int], None] = lambda done, total: None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Summary:
    """Reconstruct the samples of a file, a batch at a time, and write them to ``output``.

    Parameters
    ----------
    given
        What goes before what the file says: ``energies_kev``, ``pixel_nm``, ``stack``, ``forward``.
    samples
        Those to take, all when not given.
    substrate
        Rows and columns of bare substrate to normalise to.
    roi, mask
        Rows and columns to reconstruct; file of an image, of the size of the scan or of that region, that is 0 where
        pixels are left out.
    timed
        Whether ``output`` says how long it took.
    batch
        Samples in memory at a time; when not given, as many as fit ``batch_bytes`` of signal.
    progress
        Called with the samples done by now, and all.
    options, settings
        Those of the method, and those of :func:`microtomo.inverse.reconstruct.reconstruct`.

    Raises
    ------
    MicrotomoError
        With the name of the file, where it cannot be read or reconstructed, or ``output`` cannot be written.
    """
    path, options, summary = Path(path), dict(options or {}), Summary()
    kept = None if mask is None else read_mask(mask)
    check_output(output)
    get_method(method)
    with open_scan(path, **(given or {})) as source:
        if "energies_kev" in source.history:
            kev, name = source.energies_kev, source.stack.name if source.stack else "au-al-si"
            summary.notes.append(f"{path} says no energies: {kev[0]:g}..{kev[-1]:g} keV are taken from stack {name}")
        if (sentence := _check_spread(source, settings.get("spread"))) is not None:
            summary.notes.append(sentence)
        numbers = source.select(samples)
        total = 1 if numbers is None else len(numbers)
        if batch is None:
            batch = max(1, min(_MOST_SAMPLES, int(batch_bytes / (source.data.nbytes / (source.samples or 1)))))
        origin = {"input": str(path), "input_sha256": source.sha256(), **({"options": options} if options else {})}
        with new_reconstruction(output, numbers, source.files, **origin) as writer:
            for part in source.batches(batch, samples):
                scan = source.read(part)
                with naming(path):
                    scan = _part(scan if substrate is None else scan.normalised(*substrate), roi, kept)
                    rec = reconstruct(scan, method, forward=scan.forward or DEFAULT_FORWARD, **settings, **options)
                writer.add(rec if timed else replace(rec, seconds=0.0), scan.truth)
                summary.add(rec)
                progress(summary.samples, total)
    return summary


def _part(scan: Scan, roi: tuple[slice, slice] | None, mask: np.ndarray | None) -> Scan:
    """The region of interest of a scan, without the pixels that the mask leaves out."""
    whole = mask is not None and mask.shape == scan.shape[-2:]
    scan = scan.masked(mask) if mask is not None and whole else scan
    scan = scan if roi is None else scan.cropped(*roi)
    return scan if mask is None or whole else scan.masked(mask)


def _check_spread(source: ScanSource, spread: object) -> str | None:
    """A sentence where a scan was made with spread and none is corrected. Raises MicrotomoError without pixel size."""
    if spread is not None and not source.pixel_known:
        raise MicrotomoError(f"{source.path}: says no pixel size, which lateral spread needs: pass --pixel-nm")
    if spread is None and "spread" in source.history:
        return f"{source.path} was simulated with lateral spread, which is not corrected: pass --spread"
    return None
