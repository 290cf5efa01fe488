"""Opening a scan of any accepted kind, to be read whole or in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from microtomo.errors import MicrotomoError, naming
from microtomo.io.arrays import numbers, read_npy, read_npz
from microtomo.io.axes import axis_values, pixel_size
from microtomo.io.hashing import sha256_of
from microtomo.io.hdf5 import default_signal, load_filters, only_candidate, reading
from microtomo.io.images import Images
from microtomo.io.kinds import NPY, TIFF, Kind, data_sets_in, format_of, kind_of, suffix_of
from microtomo.io.names import ENERGY_NAMES
from microtomo.io.nexus import FORWARD, INDEX, MAPPED_BYTES, SCAN, THICKNESS, Entry, address, open_nexus
from microtomo.io.stored import StoredArray
from microtomo.io.tiff import read_tiff, read_tiff_folder
from microtomo.materials import Stack, builtin_stacks, load_stack
from microtomo.scan import Scan


@dataclass
class ScanSource:
    """An open scan: its shape, what is known about it, and its data, read on demand.

    ``data`` is anything that can be sliced, (e, y, x) or (n, e, y, x); ``truth`` likewise ([n,] l, y, x) [nm]. Both can
    be read when the source is closed.
    ``pixel_known`` says whether somebody gave the pixel size.
    """

    path: Path
    data: Any
    energies_kev: tuple[float, ...]
    files: tuple[Path, ...]
    pixel_nm: float = 10.0
    pixel_known: bool = False
    stack: Stack | None = None
    forward: str | None = None
    noise: float | None = None
    truth: Any = None
    history: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int | None:
        """Length of the sample axis, None for a single scan without one."""
        return len(self.data) if self.data.ndim == 4 else None

    def select(self, samples: slice | None) -> range | None:
        """The sample numbers that a slice means here. Raises MicrotomoError where it means none."""
        if self.samples is None:
            if samples is not None:
                raise MicrotomoError(
                    f"{self.path}: is a single scan without a sample axis: leave the choice of samples out"
                )
            return None
        chosen = range(self.samples)[samples or slice(None)]
        if not chosen or chosen.step < 1:
            raise MicrotomoError(
                f"{self.path}: has samples 0 to {self.samples - 1}: the part asked for holds none of them"
            )
        return chosen

    def batches(self, batch: int, samples: slice | None = None) -> Iterator[slice | None]:
        """Slices of at most ``batch`` samples that cover ``samples``, for :meth:`read`."""
        chosen = self.select(samples)
        if chosen is None:
            yield None
            return
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            yield slice(part.start, part.stop, part.step)

    def read(self, samples: slice | None = None, map_above_bytes: int = MAPPED_BYTES) -> Scan:
        """The scan, or a part of its samples, in memory; values as in the file, integers as float32.

        A single scan of more than ``map_above_bytes`` that lies in one piece on the disk is mapped from there.
        """
        chosen = self.select(samples)
        part = ... if chosen is None else slice(chosen.start, chosen.stop, chosen.step)
        with reading(self.path):
            mapped = chosen is None and isinstance(self.data, StoredArray)
            data = self.data.mapped(map_above_bytes) if mapped else None
            data = self.data[part] if data is None else data
            truth = None if self.truth is None else self.truth[part]
        if data.dtype.kind != "f" or data.dtype.itemsize not in (4, 8) or not data.dtype.isnative:
            data = data.astype("f8" if data.dtype.itemsize == 8 and data.dtype.kind == "f" else "f4")
        with naming(self.path):
            return Scan(
                data, self.energies_kev, self.pixel_nm, self.stack, self.forward, self.noise, truth, dict(self.history)
            )

    def sha256(self) -> str:
        """Hash of the file; of the list of names and hashes of its files where there are several."""
        sums = [(file.name, sha256_of(file)) for file in self.files]
        if len(sums) == 1:
            return sums[0][1]
        return hashlib.sha256("".join(f"{value}  {name}\n" for name, value in sums).encode()).hexdigest()


@contextmanager
def open_scan(
    path: str | Path,
    energies_kev: tuple[float, ...] | None = None,
    pixel_nm: float | None = None,
    stack: Stack | str | Path | None = None,
    forward: str | None = None,
) -> Iterator[ScanSource]:
    """Open a scan of any accepted kind (see :func:`microtomo.read_scan`); what is given goes before what the file says.

    Raises MicrotomoError, with the file name, for anything that is no scan.
    """
    path = Path(path)
    given = None if stack is None else load_stack(stack)
    kind = kind_of(path)
    if kind is Kind.RECONSTRUCTION:
        raise MicrotomoError(f"{path}: holds a reconstruction, not a scan: give the scan that it was made from")
    if kind in (Kind.SCAN, Kind.DATA_SET):
        with open_nexus(path) as (file, entry):
            with reading(path):
                source = _from_hdf5(path, file, entry, energies_kev)
            source.pixel_nm, source.pixel_known = (
                pixel_nm or source.pixel_nm,
                source.pixel_known or pixel_nm is not None,
            )
            source.stack, source.forward = given or source.stack, forward or source.forward
            _check(source, given)
            yield source
        return
    images = _images(path, kind)
    energies = energies_kev or images.energies_kev
    history = {}
    if energies is None:
        energies = (given or builtin_stacks()["au-al-si"]).energies_kev
        history["energies_kev"] = "not given: taken from the stack"
    source = ScanSource(
        path, images.data, tuple(energies), images.files, pixel_nm or 10.0, pixel_nm is not None, given, forward,
        history=history,
    )  # fmt: skip
    _check(source, given)
    yield source


def _images(path: Path, kind: Kind) -> Images:
    if kind is Kind.ARRAY:
        return read_npy(path) if format_of(path) is NPY else read_npz(path)
    if kind is Kind.FOLDER_OF_IMAGES:
        return read_tiff_folder(path)
    if kind is Kind.RECORDED and format_of(path) is TIFF:
        return read_tiff(path)
    if kind is Kind.RECORDED:
        raise MicrotomoError(f"{path}: holds recorded images, no normalised scan: run `microtomo import` on it first")
    if kind is Kind.DATA_SETS:
        raise MicrotomoError(f"{path}: holds the data sets {', '.join(data_sets_in(path))}: give one of those folders")
    if kind is Kind.FOLDER:
        raise MicrotomoError(
            f"{path}: has neither {INDEX} nor TIFF images in it: give a scan file, or the folder of one"
        )
    raise MicrotomoError(
        f"{path}: unknown kind of file {suffix_of(path)}: give HDF5 (.h5, .nxs), .npy, .npz, .tif or a folder of TIFFs"
    )


def _from_hdf5(path: Path, file: h5py.File, entry: Entry | None, energies_kev: tuple[float, ...] | None) -> ScanSource:
    signal, entry = default_signal(file), entry if entry is not None and entry.ours else None
    if signal is None and entry is not None:
        raise MicrotomoError(f"{path}: lacks the data set {address(SCAN)}: write the scan again")
    if signal is None:
        signal = only_candidate(path, file)
    load_filters(path, signal)
    data = StoredArray.of(path, signal)
    files = tuple(dict.fromkeys((Path(file.filename), *data.files)))
    energies = energies_kev or _energies(path, signal, entry is not None)
    source = ScanSource(path, data, tuple(energies), files)
    if (size := pixel_size(path, signal)) is not None:
        source.pixel_nm, source.pixel_known = size, True
    if entry is not None:
        source.stack, source.forward, source.noise = entry.stack, entry.text(FORWARD), entry.number("noise")
        source.pixel_nm = entry.number("pixel_nm") or source.pixel_nm
        source.pixel_known |= entry.number("pixel_nm") is not None
        source.history = entry.history
        if (truth := entry.data(THICKNESS)) is not None:
            source.truth = StoredArray.of(path, truth)
    return source


def _energies(path: Path, signal: h5py.Dataset, ours: bool) -> tuple[float, ...]:
    axis = axis_values(path, signal, -3, ENERGY_NAMES) if signal.ndim in (3, 4) else None
    if axis is None:
        if ours:
            raise MicrotomoError(
                f"{path}: lacks the data set {signal.parent.name}/energy: write the scan again or pass --energies"
            )
        raise MicrotomoError(f"{path}: says no energies for {signal.name}: pass --energies, such as --energies 5:35")
    values, units = axis
    return numbers(values / 1000 if units.lower() == "ev" else values)


def _check(source: ScanSource, given: Stack | None) -> None:
    """Raise MicrotomoError unless the array can be a scan with these energies."""
    data, path, stack = source.data, source.path, given or source.stack
    if data.dtype.kind not in "fiub":
        raise MicrotomoError(f"{path}: holds {data.dtype}, not numbers: a scan is an array of signal values")
    if data.ndim in (3, 4) and 0 not in data.shape and data.shape[-3] != len(source.energies_kev):
        count, e = len(source.energies_kev), source.energies_kev
        who = f"stack {stack.name} names" if stack and tuple(stack.energies_kev) == e else "there are"
        raise MicrotomoError(
            f"{path}: scan has {data.shape[-3]} energies, {who} {count} ({e[0]:g}..{e[-1]:g} keV): "
            "pass --energies or trim the scan"
        )
    with naming(path):
        Scan(_Shaped(data.shape), source.energies_kev)


@dataclass(frozen=True)
class _Shaped:
    """Stands for data that is not read yet."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)
