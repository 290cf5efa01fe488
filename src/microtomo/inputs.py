"""What may be opened for reading: regular files, and none that takes more memory than its bytes warrant."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from microtomo.errors import MicrotomoError

MEMORY_VARIABLE = "MICROTOMO_MEMORY_GB"
"""Environment variable with the gigabytes that one array of an input may take, which ``--memory-gb`` sets."""

_ANY_BYTES = 2**29
"""What an array of any input may take: 8 million pixels of 16 images as float32, a laptop's spare memory."""
_MOST_INFLATION = 20
"""Bytes in memory for a byte on disk that real files reach: label volumes compress 5 to 15 times (docs/files.md)."""
_TEXT_BYTES = 2**24
"""What a text file may have: a table of films, a stack or a configuration has kilobytes."""


def check_input(path: str | Path) -> Path:
    """The path of a file that can be opened and read to its end.

    Raises MicrotomoError where there is none, and for folders, pipes and devices, which never end.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MicrotomoError(f"{path}: no such file: check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MicrotomoError(f"{path}: cannot be read ({reason}): check the path") from None
    if stat.S_ISDIR(mode):
        raise MicrotomoError(f"{path}: is a folder: give a file")
    if not stat.S_ISREG(mode):
        raise MicrotomoError(f"{path}: is a pipe or device, not a file: save it to a file and give that one")
    return path


def check_memory(path: str | Path, needs_bytes: int, stored_bytes: int) -> None:
    """Raise MicrotomoError where an input that takes ``stored_bytes`` on disk needs too many in memory.

    The limit is half a gigabyte, or 20 times the bytes on disk where that is more but no more than this machine has;
    :data:`MEMORY_VARIABLE` takes its place.
    """
    limit = _memory_limit(stored_bytes)
    if needs_bytes > limit:
        raise MicrotomoError(
            f"{path}: declares an array of {_size(needs_bytes)} but has {_size(stored_bytes)} on disk, and the limit "
            f"for it is {_size(limit)}: if that is meant, raise it with microtomo --memory-gb "
            f"{max(1, -(-needs_bytes // 10**9))}"
        )


def read_text(path: str | Path) -> str:
    """The text of a small UTF-8 file. Raises MicrotomoError as :func:`check_input`, and for what is no text."""
    path = Path(path)
    if not path.exists():
        raise MicrotomoError(f"{path}: cannot be read (no such file): check the path")
    check_input(path)
    try:
        with path.open("rb") as file:
            data = file.read(_TEXT_BYTES + 1)
        if len(data) > _TEXT_BYTES:
            raise MicrotomoError(f"{path}: has more than {_size(_TEXT_BYTES)} of text: give a smaller file")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    except UnicodeDecodeError as error:
        raise MicrotomoError(f"{path}: is no text in UTF-8 ({error.reason}): save it as such") from None


def _memory_limit(stored_bytes: int) -> int:
    given = os.environ.get(MEMORY_VARIABLE)
    if given:
        try:
            return int(float(given) * 1e9)
        except (ValueError, OverflowError):
            raise MicrotomoError(f"{MEMORY_VARIABLE}={given}: is no number of gigabytes: give one such as 4") from None
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_ANY_BYTES, min(_MOST_INFLATION * stored_bytes, machine))


def _size(count: int) -> str:
    for unit, per in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= per:
            return f"{count / per:.3g} {unit}"
    return f"{count / 1000:.3g} kB"
