"""Arrays of HDF5 files, virtual ones included, that hold no file open: each read opens what it needs, and closes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_memory
from microtomo.io.hdf5 import load_filters, open_hdf5, reading

Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis."""


@dataclass(frozen=True)
class Piece:
    """A box of an array, and the data set in a file that holds it; ``first`` is where the box begins there."""

    path: Path
    name: str
    box: Box
    first: tuple[int, ...]


@dataclass(frozen=True)
class StoredArray:
    """An array on disk, in one file or in shards, sliced like a NumPy array (positive steps only).

    A thousand shards take no more memory or open files than one. HDF5 itself would keep each one open, and read NaN
    where it cannot.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: tuple[Piece, ...]
    fill: Any

    @classmethod
    def of(cls, path: Path, data: h5py.Dataset) -> StoredArray:
        """What a data set of an open file is. Raises MicrotomoError where it is virtual in a way that is not read."""
        whole = tuple((0, size) for size in data.shape)
        pieces: tuple[Piece, ...] = (Piece(Path(data.file.filename), data.name, whole, (0,) * data.ndim),)
        if data.is_virtual:
            pieces = tuple(_pieces(path, data))
        return cls(path, data.shape, data.dtype, pieces, data.fillvalue)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that hold the values. Raises MicrotomoError where one of them is missing."""
        files = tuple(dict.fromkeys(piece.path for piece in self.pieces))
        for file in files:
            if not file.exists():
                raise MicrotomoError(
                    f"{self.path}: its shard {file.name} is missing: run generate again, it makes what lacks"
                )
        return files

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """A part in memory. Raises MicrotomoError for shards that are missing, damaged or of another shape."""
        wanted = _ranges(key, self.shape)
        shape = tuple(len(r) for r in wanted)
        met = [(piece, *_overlap(piece, wanted)) for piece in self._near(wanted)]
        met = [(piece, into, of) for piece, into, of in met if all(s.stop > s.start for s in into)]
        self.check_memory(shape, {piece.path for piece, _, _ in met})
        if len(met) == 1 and all((s.start, s.stop) == (0, n) for s, n in zip(met[0][1], shape, strict=True)):
            return self._read(met[0][0], met[0][2])
        out = np.full(shape, self.fill, self.dtype)
        for piece, into, of in met:
            out[into] = self._read(piece, of)
        return out

    def mapped(self, above_bytes: int) -> np.ndarray | None:
        """A large array in one piece on the disk, mapped from there; None where it is none or need not be."""
        if (
            self.nbytes < above_bytes
            or len(self.pieces) != 1
            or self.pieces[0].box != tuple((0, n) for n in self.shape)
        ):
            return None
        piece = self.pieces[0]
        with open_hdf5(piece.path) as file, reading(piece.path):
            data = file[piece.name]
            offset = data.id.get_offset()
            if offset is None or data.external or data.is_virtual or data.chunks is not None:
                return None
            if (data.shape, data.dtype) != (self.shape, self.dtype):
                return None
        return np.memmap(piece.path, dtype=self.dtype, mode="c", offset=offset, shape=self.shape)

    def _near(self, wanted: tuple[range, ...]) -> list[Piece]:
        """Pieces that meet the numbers wanted along the first axis: few of thousands."""
        if len(self.pieces) == 1 or not wanted or not wanted[0]:
            return list(self.pieces)
        lows, highs = self._ends
        return [self.pieces[i] for i in np.flatnonzero((highs > wanted[0][0]) & (lows <= wanted[0][-1]))]

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array([piece.box[0] for piece in self.pieces]).T
        return low, high

    def check_memory(self, shape: tuple[int, ...], files: Iterable[Path]) -> None:
        """Raise MicrotomoError where a part of this shape is too large for what these files have."""
        # numbers become float32 at least where they are worked with
        needs = math.prod(shape) * max(self.dtype.itemsize, 4)
        stored = sum(file.stat().st_size for file in files if file.exists())
        check_memory(self.path, needs, stored)

    def _read(self, piece: Piece, of: tuple[slice, ...]) -> np.ndarray:
        if not piece.path.exists():
            raise MicrotomoError(
                f"{self.path}: its shard {piece.path.name} is missing: run generate again, it makes what lacks"
            )
        with open_hdf5(piece.path) as file, reading(piece.path):
            data = file.get(piece.name)
            ends = [start + stop - low for (low, stop), start in zip(piece.box, piece.first, strict=True)]
            fits = isinstance(data, h5py.Dataset) and data.ndim == self.ndim and not data.is_virtual
            if not fits or any(end > size for end, size in zip(ends, data.shape, strict=True)):
                raise MicrotomoError(f"{piece.path}: holds no {piece.name} of the shape that {self.path} says")
            load_filters(piece.path, data)
            return np.asarray(data[of])


def load(path: Path, data: h5py.Dataset, part: Any = ...) -> np.ndarray:
    """Values of a data set of an open file, or a part of them. Raises MicrotomoError as :class:`StoredArray`."""
    array = StoredArray.of(path, data)
    if data.is_virtual:
        return array[part]
    shape = tuple(map(len, _ranges(part, array.shape)))
    array.check_memory(shape, array.files)
    load_filters(path, data)
    return np.asarray(data[part])


def _pieces(path: Path, data: h5py.Dataset) -> Iterator[Piece]:
    """What a virtual data set is put together from."""
    properties, folder = data.id.get_create_plist(), Path(data.file.filename).parent
    for i in range(properties.get_virtual_count()):
        name = properties.get_virtual_filename(i)
        box = _box(properties.get_virtual_vspace(i), data.shape)
        shape = () if box is None else tuple(b - a for a, b in box)
        source = _box(properties.get_virtual_srcspace(i), shape)
        if box is None or source is None or "%" in name or shape != tuple(b - a for a, b in source):
            raise MicrotomoError(
                f"{path}: {data.name} is put together from other files in a way that is not read: h5repack it into one"
            )
        file = Path(data.file.filename) if name == "." else folder / name
        yield Piece(file, properties.get_virtual_dsetname(i), box, tuple(start for start, _ in source))


def _box(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> Box | None:
    """The selection of a data space as one box, None where it is none; ``shape`` where everything is selected."""
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return tuple((0, size) for size in shape)
    if kind != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    starts, strides, counts, blocks = space.get_regular_hyperslab()
    box = []
    for start, stride, count, block in zip(starts, strides, counts, blocks, strict=True):
        if h5py.h5s.UNLIMITED in (count, block) or (count > 1 and stride != block):
            return None
        box.append((start, start + count * block))
    return tuple(box)


def _ranges(key: Any, shape: tuple[int, ...]) -> tuple[range, ...]:
    """The numbers along each axis that a key of slices means."""
    given = () if key is Ellipsis else key if isinstance(key, tuple) else (key,)
    slices = (*given, *[slice(None)] * (len(shape) - len(given)))
    return tuple(range(size)[part] for size, part in zip(shape, slices, strict=True))


def _overlap(piece: Piece, wanted: tuple[range, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where what is wanted of a piece goes in the result, and where it stands in the piece's data set."""
    into, of = [], []
    for (low, high), first, numbers in zip(piece.box, piece.first, wanted, strict=True):
        step = numbers.step
        begin = min(max(0, -(-(low - numbers.start) // step)), len(numbers))
        end = min(max(begin, -(-(high - numbers.start) // step)), len(numbers))
        into.append(slice(begin, end))
        start = numbers.start + begin * step - low + first
        of.append(slice(start, start + max(0, end - begin - 1) * step + (end > begin), step))
    return tuple(into), tuple(of)
