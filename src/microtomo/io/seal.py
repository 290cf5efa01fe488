"""The seal at the end of HDF5 files: a checksum over every byte before it, so that damage anywhere is noticed.

It stands behind what HDF5 calls the end of the file, so any program reads and changes the file as if it were not there;
a file that was changed on purpose no longer fits its seal. Samples and images have checksums of their own (Fletcher32),
which every reader of HDF5 checks; the seal covers what lies between them: attributes, axes, the layout.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_input

BLOCK_BYTES = 2**16
"""Bytes under one checksum: small beside a sample, of which only the first and last block are read back."""
_MAGIC = b"\x89mtseal1"
_FORM = struct.Struct("<8sQI")  # magic, bytes before the seal, CRC-32 of the CRC-32 of each block


class Seal:
    """Checksums of the blocks of a file, kept up as it is written in any order."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def written(self, start: int, data: memoryview) -> None:
        """Note that ``data`` now stands at ``start``."""
        for block in range(start // BLOCK_BYTES, -(-(start + len(data)) // BLOCK_BYTES)):
            low = block * BLOCK_BYTES - start
            if low >= 0 and low + BLOCK_BYTES <= len(data):
                self._known[block] = zlib.crc32(data[low : low + BLOCK_BYTES])
            else:
                self._known.pop(block, None)

    def truncated(self, size: int) -> None:
        """Note that the file now ends, or is filled with zeros to, ``size``."""
        self._known = {block: value for block, value in self._known.items() if (block + 1) * BLOCK_BYTES <= size}

    def words(self, size: int, read: Callable[[int], bytes]) -> bytes:
        """The seal of a file of ``size`` bytes; ``read`` gives a block that is not known, from where it starts."""
        total = 0
        for block in range(-(-size // BLOCK_BYTES)):
            value = self._known.get(block)
            value = zlib.crc32(read(block * BLOCK_BYTES)) if value is None else value
            total = zlib.crc32(struct.pack("<I", value), total)
        return _FORM.pack(_MAGIC, size, total)


def is_intact(path: str | Path) -> bool | None:
    """Whether every byte of a file is as it was written; None where it has no seal: another program's, or an older one.

    Raises MicrotomoError where it cannot be read.
    """
    path = check_input(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - _FORM.size
            if size < 0:
                return None
            file.seek(size)
            found = file.read()
            magic, length, _ = _FORM.unpack(found)
            if magic != _MAGIC or length != size:
                return None

            def read(start: int) -> bytes:
                file.seek(start)
                return file.read(min(BLOCK_BYTES, size - start))

            return Seal().words(size, read) == found
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be read ({error.strerror}): check the disk") from error
