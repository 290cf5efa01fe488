"""Hashes of files, by which outputs name their inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from microtomo.inputs import check_input
from microtomo.io.hdf5 import reading


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits. Raises MicrotomoError where it cannot be read."""
    with reading(check_input(path)), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
