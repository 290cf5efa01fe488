"""Output files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from microtomo.errors import MicrotomoError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# of an output's name in that of its temporary file: names have at most 255 bytes, letters up to 4
_NAME_LETTERS = 50


def check_output(path: str | Path, inputs: Iterable[str | Path] = (), needs_bytes: int = 0) -> Path:
    """The path of an output file that can be written: cheap to ask before long work.

    Raises MicrotomoError when it is a folder, a link, a device or one of the ``inputs``, when its folder is missing or
    not writable, or when the disk has less than ``needs_bytes`` free.
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
    if path.exists() and any(Path(source).exists() and path.samefile(source) for source in inputs):
        raise MicrotomoError(f"{path}: is the input itself: choose another output name")
    if path.is_symlink():
        raise MicrotomoError(f"{path}: is a link to {os.readlink(path)}: give the name of the file itself")
    if path.exists() and not path.is_file():
        raise MicrotomoError(f"{path}: is a device or pipe, not a file: give the name of a file to write")
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

    An older file under the final name stays as it was until the new one is complete and on the disk. The temporary
    file is empty, has a name that nobody can guess and is locked while it is written; those of ``path`` that killed
    commands left are removed.
    """
    path = check_output(path, inputs, needs_bytes)
    remove_partial(path.parent, path.name)
    with writing(path):
        lock, temporary = _new_partial(path)
    try:
        yield temporary
        with writing(path):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def remove_partial(folder: Path, name: str = "") -> None:
    """Remove temporary files in a folder, of the output ``name`` or of any, that nobody is writing any more."""
    for leftover in folder.glob(f".{glob.escape(name[:_NAME_LETTERS])}*.partial"):
        try:
            lock = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink(missing_ok=True)
        except OSError:  # another process writes it, or the file system has no locks
            continue
        finally:
            os.close(lock)


def _new_partial(path: Path) -> tuple[int, Path]:
    """A new empty file beside ``path``, locked until the descriptor is closed, and its path."""
    while True:
        temporary = path.with_name(f".{path.name[:_NAME_LETTERS]}.{secrets.token_hex(8)}.partial")
        lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        with suppress(OSError):  # network file systems may have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():
            return lock, temporary
        os.close(lock)  # somebody tidied up between the two lines above


def _sync_folder(folder: Path) -> None:
    """Bring a new name in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that sync no folders
            raise
    finally:
        os.close(handle)


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
