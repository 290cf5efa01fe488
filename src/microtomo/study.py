"""One sample out of many, with everything that is known of it: what pictures and viewers show."""

from __future__ import annotations

from dataclasses import dataclass, replace

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack, load_stack
from microtomo.scan import Array, Reconstruction, Scan


@dataclass(frozen=True)
class Study:
    """One sample: a reconstruction, a scan or both, and the true thickness (l, y, x) [nm] where it is known.

    ``notes`` are sentences that a viewer shows, such as why there is no scan.
    """

    name: str
    rec: Reconstruction | None = None
    scan: Scan | None = None
    truth: Array | None = None
    notes: tuple[str, ...] = ()

    @property
    def stack(self) -> Stack:
        """The stack of the reconstruction, else of the scan, else au-al-si."""
        return next((s.stack for s in (self.rec, self.scan) if s is not None and s.stack), load_stack("au-al-si"))

    @property
    def pixel_nm(self) -> float:
        """Side of a pixel [nm]."""
        return next(s.pixel_nm for s in (self.rec, self.scan) if s is not None)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        arrays = [s.thickness if isinstance(s, Reconstruction) else s.data for s in (self.rec, self.scan) if s]
        return int(arrays[0].shape[-2]), int(arrays[0].shape[-1])


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
    names = ("thickness", "uncertainty", "volume", "chi_square", "status", "rejected")
    parts = {name: values[sample] for name in names if (values := getattr(rec, name)) is not None}
    return replace(rec, **parts, verdicts=rec.verdicts[sample : sample + 1])


def _check(sample: int, count: int) -> None:
    if not 0 <= sample < count:
        raise MicrotomoError(f"there is no sample {sample}: samples are 0..{count - 1}")
