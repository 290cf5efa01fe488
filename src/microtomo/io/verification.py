"""Whether files are as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_input, check_memory
from microtomo.io.hdf5 import open_hdf5, reading
from microtomo.io.kinds import HDF5
from microtomo.io.nexus import INDEX
from microtomo.io.seal import is_intact
from microtomo.io.stored import StoredArray

_CHUNK_BYTES = 2**26  # read at a time of files without a seal


@dataclass(frozen=True)
class Verdict:
    """What was found: ``intact``, ``damaged`` or ``unsealed`` (no checksum, but readable), and why."""

    file: Path
    state: Literal["intact", "damaged", "unsealed"]
    reason: str = ""


def files_of(place: Path) -> list[Path]:
    """The HDF5 files that a path means: itself, or all in a folder; of a data set also those that are missing.

    Raises MicrotomoError where there is none.
    """
    if not place.is_dir():
        return [check_input(place)]
    files = {path for path in place.rglob("*") if path.suffix.lower() in HDF5.suffixes and path.name[0] != "."}
    for index in [path for path in files if path.name == INDEX]:
        files |= set(_shards(index))
    if not files:
        raise MicrotomoError(f"{place}: has no HDF5 files in it: give files that microtomo wrote, or a data set")
    return sorted(files)


def verdict_of(file: Path) -> Verdict:
    """Check a file against its seal; one without is read to its end."""
    try:
        intact = is_intact(file)
        if intact is not None:
            return Verdict(file, "intact") if intact else Verdict(file, "damaged", "differs from what was written")
        if not h5py.is_hdf5(file):
            return Verdict(file, "damaged", "is no HDF5 file, or its beginning is lost: copy or write it again")
        _read_all(file)
    except MicrotomoError as error:
        return Verdict(file, "damaged", str(error).removeprefix(f"{file}: "))
    return Verdict(file, "unsealed", "has no checksum: another program wrote or changed it, or an older version")


def _shards(index: Path) -> list[Path]:
    """Files behind the virtual data sets of an index; none where it cannot be read, which its own check tells."""
    found: list[Path] = []
    try:
        with open_hdf5(index) as file, reading(index):
            virtual: list[h5py.Dataset] = []
            file.visititems(lambda _, item: virtual.append(item) if _is_virtual(item) else None)
            for data in virtual:
                found += [piece.path for piece in StoredArray.of(index, data).pieces]
    except MicrotomoError:
        return []
    return found


def _is_virtual(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.is_virtual


def _read_all(path: Path) -> None:
    """Read every value, some at a time; the checksums of chunks, where they have any, are checked on the way."""
    with open_hdf5(path) as file, reading(path):
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        for data in arrays:
            if data.is_virtual or not data.shape or not data.size:
                continue
            check_memory(path, data.nbytes, path.stat().st_size)
            step = max(1, _CHUNK_BYTES * data.shape[0] // max(1, data.nbytes))
            for start in range(0, data.shape[0], step):
                data[start : start + step]
