"""Output files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from microtomo.errors import MicrotomoError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SYNC_BYTES = 32 * 2**20


def check_output(path: str | Path, inputs: Iterable[str | Path] = (), needs_bytes: int = 0) -> Path:
    """The path of an output file that can be written: cheap to ask before long work.

    Raises MicrotomoError when it is a folder or one of the ``inputs``, when its folder is missing or not writable,
    or when the disk has less than ``needs_bytes`` free.
    """
    path = Path(path)
    if path.is_dir():
        raise MicrotomoError(f"{path}: is a folder: give the name of a file to write")
    if not path.name:
        raise MicrotomoError("the output has no name: give the path of a file to write")
    parent = path.parent
    if not parent.is_dir():
        raise MicrotomoError(f"{path}: cannot be written, {parent} is no folder: create it or choose another path")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise MicrotomoError(f"{path}: cannot be written, no permission in {parent}: choose another path")
    for source in inputs:
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise MicrotomoError(f"{path}: is the input itself: choose another output name")
    free = shutil.disk_usage(parent).free
    if free < needs_bytes:
        raise MicrotomoError(
            f"{path}: needs {needs_bytes / 1e6:.0f} MB but the disk has {free / 1e6:.0f} MB free: make room or choose "
            "another disk"
        )
    return path


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn the system's errors while ``path`` is written into one MicrotomoError sentence."""
    try:
        yield
    except MicrotomoError:
        raise
    except (OSError, RuntimeError) as error:
        raise MicrotomoError(f"{path}: {_reason(error)}") from error


@contextmanager
def whole_file(path: str | Path, inputs: Iterable[str | Path] = (), needs_bytes: int = 0) -> Iterator[Path]:
    """Yield a temporary path in the same folder, renamed to ``path`` on success and removed on anything else.

    An older file under the final name stays as it was until the new one is complete.
    """
    path = check_output(path, inputs, needs_bytes)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with writing(path):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_hdf5(
    path: str | Path, inputs: Iterable[str | Path] = (), needs_bytes: int = 0
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield an empty HDF5 file that stands under ``path`` once the block has ended well, and leaves nothing otherwise.

    The second value is a function that raises MicrotomoError when anything written so far did not reach the disk
    (full, quota); long jobs call it between their parts. It is called once more at the end.
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
        finally:
            sink.close()
        check()


class _Sink:
    """A file for HDF5 to write to that keeps the first error and swallows what follows.

    HDF5 crashes the process when it closes a file whose last pieces cannot be written (disk full); here it always
    closes well, and the error is raised afterwards.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = 0
        self._unsynced = 0
        self.error: BaseException | None = None

    def close(self) -> None:
        os.close(self._file)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._file).st_size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            done = 0
            while self.error is None and done < len(view):
                done += os.pwrite(self._file, view[done:], self._position + done)
            self._unsynced += done
            if self._unsynced >= _SYNC_BYTES and self.error is None:
                self._sync()
        except BaseException as error:
            self.error = error
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
        data = os.pread(self._file, len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def read(self, size: int) -> bytes:
        data = os.pread(self._file, size, self._position)
        self._position += len(data)
        return data

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self._file, size)
        except BaseException as error:
            self.error = error
        return size

    def flush(self) -> None:
        pass


def machine() -> str:
    """What outputs say they were made on: cores, processor and accelerator, in words."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {platform.machine()}, {accelerator}"


def _reason(error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (match := re.search(r"errno = (\d+)", str(error))):
        code = int(match[1])
    if code in _FULL:
        return f"cannot be written, {os.strerror(code).lower()}: make room or choose another disk"
    if code is not None:
        return f"cannot be written ({os.strerror(code).lower()}): choose another path"
    return f"cannot be written ({str(error).splitlines()[0] if str(error) else type(error).__name__}): try another path"
