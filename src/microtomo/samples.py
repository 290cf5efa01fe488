"""One sample out of many: what pictures show."""

from __future__ import annotations

from dataclasses import replace

from microtomo.errors import MicrotomoError
from microtomo.scan import Reconstruction, Scan


def one_scan(scan: Scan, sample: int = 0) -> Scan:
    """Sample ``sample`` of a scan, without the sample axis. Raises MicrotomoError where there is no such sample."""
    if scan.ndim == 3:
        _check(sample, 1)
        return scan
    _check(sample, len(scan.data))
    truth = scan.truth
    if truth is not None and truth.ndim == 4:
        truth = truth[sample]
    return replace(scan, data=scan.data[sample], truth=truth)


def one_reconstruction(rec: Reconstruction, sample: int = 0) -> Reconstruction:
    """Sample ``sample`` of a reconstruction, without the sample axis. Raises MicrotomoError where there is none."""
    if rec.thickness.ndim == 3:
        _check(sample, 1)
        return rec
    _check(sample, len(rec.thickness))
    names = ("thickness", "uncertainty", "volume", "chi_square", "status")
    return replace(rec, **{name: getattr(rec, name)[sample] for name in names})


def _check(sample: int, count: int) -> None:
    if not 0 <= sample < count:
        raise MicrotomoError(f"there is no sample {sample}: samples are 0..{count - 1}")
