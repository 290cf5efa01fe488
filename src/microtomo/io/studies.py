"""What there is to see of one sample, from files: reconstruction, scan and truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from microtomo.errors import MicrotomoError, naming
from microtomo.io.kinds import Kind, kind_of
from microtomo.io.nexus import TRUTH, open_nexus
from microtomo.io.reconstructions import read_reconstruction
from microtomo.io.scans import read_truth
from microtomo.io.sources import open_scan
from microtomo.scan import Reconstruction, Scan
from microtomo.study import Study, one_reconstruction, one_scan


def load_study(file: Path, sample: int = 0) -> Study:
    """Reconstruction or scan of one sample of a file, without the scan that a reconstruction was made from.

    Raises MicrotomoError, with the file name, for a file that is neither or has no such sample.
    """
    part = slice(sample, sample + 1)
    if kind_of(file) is Kind.RECONSTRUCTION:
        rec = read_reconstruction(file, part)
        with open_nexus(file) as (_, entry):
            has_truth = entry is not None and entry.data(TRUTH) is not None
        with naming(file):
            if len(rec.thickness) == 0:
                raise MicrotomoError(f"there is no sample {sample}: the file has fewer")
            truth = read_truth(file, part).thickness if has_truth else None
            rec = one_reconstruction(rec, 0 if rec.thickness.ndim == 4 else sample)
        return Study(file.name, rec, None, truth[0] if truth is not None and truth.ndim == 4 else truth)
    with open_scan(file) as source:
        scan = source.read(None if source.samples is None else part)
    with naming(file):
        scan = one_scan(scan, 0 if scan.ndim == 4 else sample)
    return Study(file.name, None, scan, scan.truth)


def scan_of(rec: Reconstruction, given: Path | None, sample: int, file: Path) -> Scan:
    """The sample of the scan file, ``given`` or named in the reconstruction's ``file``, that it was made from.

    A scan that moved with the file is found beside it. Raises MicrotomoError where it is not known, not there, or
    another scan.
    """
    path = given or (Path(rec.history["input"]) if "input" in rec.history else None)
    if path is not None and given is None and not path.exists():
        path = next((p for p in (file.parent / path, file.parent / path.name) if p.exists()), path)
    if path is None or not path.exists():
        reason = "names no scan" if path is None else f"was made from {path}, which is not there"
        raise MicrotomoError(f"{reason}: give the scan with --scan")
    numbers = rec.history.get("samples")
    scan = load_study(path, numbers[0] if numbers else sample).scan
    if scan is None or scan.shape[-2:] != rec.thickness.shape[-2:]:
        raise MicrotomoError(f"{path} is not the scan of this reconstruction: give that one with --scan")
    return scan


def open_study(file: str | Path, scan: str | Path | None = None, sample: int = 0) -> Study:
    """Everything to see of a sample: a scan, or a reconstruction with the scan that it was made from.

    Without ``scan`` that is the one that the file names; where it is not there, a note says so.
    Raises MicrotomoError for files that cannot be read, and for a ``scan`` that does not fit.
    """
    study = load_study(Path(file), sample)
    if study.rec is None:
        return study
    try:
        source = scan_of(study.rec, None if scan is None else Path(scan), sample, Path(file))
    except MicrotomoError as error:
        if scan is not None:
            raise
        return replace(study, notes=(f"no spectra, the file {error}",))
    return replace(study, scan=source, truth=study.truth if study.truth is not None else source.truth)
