"""Solved tables in the user's cache folder, one file each, named by a hash of all that decides it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

_FORMAT = 1
"""Raised whenever the solver's results change."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/microtomo/transport``, by default in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "microtomo" / "transport"


def load_or_compute(key: dict[str, Any], shape: tuple[int, ...], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Values float64 of this shape: from the cache, else computed and stored.

    A file that is cut off, of another version or of another key is computed anew and replaced. Files appear whole or
    not at all, so processes may do this at once. Where the folder cannot be written, a warning says so and the values
    are used from memory.
    """
    text = json.dumps({**key, "format": _FORMAT, "cross_sections": _cross_sections()}, sort_keys=True)
    path = cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
    stored = _load(path, text, shape)
    if stored is not None:
        return stored
    values = compute()
    try:
        _store(path, text, values)
    except OSError as error:
        warnings.warn(
            f"the table of this stack cannot be kept in {path.parent} ({error.strerror}) and is solved again in each "
            "program: set XDG_CACHE_HOME to a folder that can be written",
            stacklevel=2,
        )
    return values


@cache
def _cross_sections() -> str:
    data = files("microtomo.physics").joinpath("data", "czyzewski1990.npz").read_bytes()
    return hashlib.sha256(data).hexdigest()


def _load(path: Path, text: str, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = stored["values"]
            if str(stored["key"]) != text or values.shape != shape or values.dtype != np.float64:
                return None
            return np.asarray(values) if np.isfinite(values).all() else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _store(path: Path, text: str, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")  # exclusive, of this process only
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, values=values, key=np.array(text))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
