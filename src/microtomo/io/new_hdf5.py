"""New HDF5 files: whole or not at all, and sealed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from microtomo.io.atomic import whole_file, writing
from microtomo.io.seal import BLOCK_BYTES, Seal

_SYNC_BYTES = 32 * 2**20


@contextmanager
def new_hdf5(
    path: str | Path, inputs: Iterable[str | Path] = (), needs_bytes: int = 0
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield an empty HDF5 file that stands under ``path`` once the block has ended well, and leaves nothing otherwise.

    The second value is a function that raises MicrotomoError when anything written so far did not reach the disk
    (full, quota); long jobs call it between their parts. It is called once more at the end. The file ends in a seal,
    see :mod:`microtomo.io.seal`.
    """
    with whole_file(path, inputs, needs_bytes) as temporary:
        with writing(path):
            sink = _Sink(temporary)

        def check() -> None:
            if sink.error is not None:
                with writing(path):
                    raise sink.error

        try:
            with writing(path):
                file = h5py.File(sink, "w")
            try:
                yield file, check
            finally:
                file.close()
            check()
            with writing(path):
                sink.seal()
        finally:
            sink.close()
        check()


class _Sink:
    """A file for HDF5 to write to that keeps the first error, and in memory what comes after it.

    HDF5 crashes the process when it closes a file whose last pieces cannot be written (disk full), and when it reads
    back something else than it wrote; here it always closes well and finds what it wrote, and the error is raised at
    the next check.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        self._position = 0
        self._unsynced = 0
        self._seal = Seal()
        self._lost: list[tuple[int, bytes]] = []  # what is not on the disk since the error: place and bytes
        self.error: BaseException | None = None

    def close(self) -> None:
        os.close(self._file)

    def seal(self) -> None:
        """Write the seal at the end; nothing more may follow."""
        size = os.fstat(self._file).st_size
        words = self._seal.words(size, lambda start: os.pread(self._file, BLOCK_BYTES, start))
        self._position = size
        self.write(words)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = max([os.fstat(self._file).st_size, *(place + len(data) for place, data in self._lost)])
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += os.pwrite(self._file, view[done:], self._position + done)
            self._seal.written(self._position, view[:done])
            self._unsynced += done
            if self._unsynced >= _SYNC_BYTES and self.error is None:
                self._sync()
        except BaseException as error:
            self.error = error
        if self.error is not None:
            self._lost.append((self._position + done, bytes(view[done:])))
        self._position += len(view)
        return len(view)

    def _sync(self) -> None:
        # A long file keeps to a few pages of the cache: fresh pages cost several times the write itself on a
        # virtual machine, and whatever else runs keeps its own.
        self._unsynced = 0
        if hasattr(os, "posix_fadvise"):
            os.fdatasync(self._file)
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int) -> bytes:
        data = bytearray(os.pread(self._file, size, self._position))
        for place, lost in self._lost:
            start, end = max(place, self._position), min(place + len(lost), self._position + size)
            if start < end:
                data.extend(bytes(max(0, end - self._position - len(data))))
                data[start - self._position : end - self._position] = lost[start - place : end - place]
        self._position += len(data)
        return bytes(data)

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self._file, size)
                self._seal.truncated(size)
        except BaseException as error:
            self.error = error
        return size

    def flush(self) -> None:
        pass
