"""What there is to see of one sample: reconstruction, scan and truth, from a file or from memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.hdf5 import open_hdf5
from microtomo.io.scans import read_reconstruction, read_truth
from microtomo.io.sources import HDF5_SUFFIXES, naming, open_scan
from microtomo.materials import Stack, load_stack
from microtomo.samples import one_reconstruction, one_scan
from microtomo.scan import Array, Reconstruction, Scan, Status, as_tensor
from microtomo.viz.spectrum import resimulated


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


@dataclass(frozen=True)
class Readout:
    """What is known of pixel (y, x); layers bottom to top, thickness, standard deviation and truth in nm.

    ``observed`` and ``resimulated`` are signals over substrate at ``energies_kev``. None where it is not known.
    """

    y: int
    x: int
    symbols: tuple[str, ...]
    thickness: tuple[float, ...] | None
    sigma: tuple[float, ...] | None
    truth: tuple[float, ...] | None
    chi_square: float | None
    status: str
    energies_kev: tuple[float, ...]
    observed: np.ndarray | None
    resimulated: np.ndarray | None


def readout(study: Study, y: int, x: int) -> Readout:
    """The numbers of a pixel. Raises MicrotomoError for a pixel outside the image."""
    height, width = study.shape
    if not (0 <= y < height and 0 <= x < width):
        raise MicrotomoError(f"pixel {y},{x} is outside the image: rows 0..{height - 1}, columns 0..{width - 1}")

    def column(maps: Array | None) -> tuple[float, ...] | None:
        return None if maps is None else tuple(float(v) for v in as_tensor(maps)[:, y, x])

    rec, scan = study.rec, study.scan
    energies = tuple(scan.energies_kev if scan is not None else study.stack.energies_kev)
    return Readout(
        y=y,
        x=x,
        symbols=study.stack.symbols,
        thickness=None if rec is None else column(rec.thickness),
        sigma=None if rec is None else column(rec.uncertainty),
        truth=column(study.truth),
        chi_square=None if rec is None else float(as_tensor(rec.chi_square)[y, x]),
        status="" if rec is None else Status(int(as_tensor(rec.status)[y, x])).message,
        energies_kev=energies,
        observed=None if scan is None else np.asarray(as_tensor(scan.data)[:, y, x].cpu(), dtype=float),
        resimulated=None if rec is None else resimulated(rec, energies, (y, x)),
    )


def told(found: Readout, energy: int) -> str:
    """One line on a pixel: signal at an energy, fit and status."""
    words = []
    if found.observed is not None:
        resimulated = f", re-simulated {found.resimulated[energy]:.4f}" if found.resimulated is not None else ""
        words.append(f"signal at {found.energies_kev[energy]:g} keV {found.observed[energy]:.4f}{resimulated}")
    if found.chi_square is not None:
        words.append(f"chi-square {found.chi_square:.2f}: {found.status}")
    return "; ".join(words)


def readings(found: Readout) -> list[dict[str, str]]:
    """Rows of a table, top layer first: symbol, thickness, sigma and truth in nm, empty where not known."""
    rows = []
    for k in reversed(range(len(found.symbols)) if found.thickness or found.truth else []):
        digits = 2 if found.sigma is None or found.sigma[k] < 0.1 else 1
        columns = {"thickness": found.thickness, "sigma": found.sigma, "truth": found.truth}
        rows.append(
            {"symbol": found.symbols[k]}
            | {name: "" if values is None else f"{values[k]:.{digits}f}" for name, values in columns.items()}
        )
    return rows


def load_study(file: Path, sample: int = 0) -> Study:
    """Reconstruction or scan of one sample of a file, without the scan that a reconstruction was made from.

    Raises MicrotomoError, with the file name, for a file that is neither or has no such sample.
    """
    part = slice(sample, sample + 1)
    if file.suffix.lower() in HDF5_SUFFIXES and file.is_file():
        with open_hdf5(file) as opened:
            is_reconstruction, has_truth = "entry/fit" in opened, "entry/truth" in opened
        if is_reconstruction:
            rec = read_reconstruction(file, part)
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
        told = "names no scan" if path is None else f"was made from {path}, which is not there"
        raise MicrotomoError(f"{told}: give the scan with --scan")
    numbers = rec.history.get("samples")
    scan = load_study(path, numbers[0] if numbers else sample).scan
    if scan is None or scan.shape[-2:] != rec.thickness.shape[-2:]:
        raise MicrotomoError(f"{path} is not the scan of this reconstruction: give that one with --scan")
    return scan
