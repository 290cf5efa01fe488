"""Opening HDF5 files, whoever wrote them: errors in words, filters, the default signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from microtomo.errors import MicrotomoError, cause
from microtomo.io.guard import check_hdf5

_NM = {
    "nm": 1.0, "nanometer": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "micrometer": 1e3, "mm": 1e6,
    "cm": 1e7, "m": 1e9, "pm": 1e-3, "\u00e5": 0.1, "a\u030a": 0.1, "angstrom": 0.1,
}  # fmt: skip

_DEEPEST = 8  # groups from the root to the default signal, which may be a circle; in NXem they are six


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file open for reading; failures to read become MicrotomoError."""
    path = check_hdf5(path)
    with reading(path):
        file = h5py.File(path, "r")
    with file:
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's and HDF5's errors while ``path`` is read into one MicrotomoError sentence."""
    try:
        yield
    except MicrotomoError:
        raise
    except OSError as error:
        message = str(error)
        if "signature not found" in message:
            raise MicrotomoError(f"{path}: is no HDF5 file: check the path, or that the copy is complete") from error
        if "truncated file" in message:
            raise MicrotomoError(f"{path}: is cut off, its end is missing: copy or write it again") from error
        if error.errno:
            raise MicrotomoError(f"{path}: cannot be read ({message.split(' (')[0]}): check the path") from error
        raise MicrotomoError(f"{path}: cannot be read, it seems damaged ({message}): copy or write it again") from error
    except Exception as error:
        raise MicrotomoError(
            f"{path}: cannot be read, it seems damaged ({cause(error)}): copy or write it again"
        ) from error


def load_filters(path: Path, data: h5py.Dataset) -> None:
    """Load the decompressor of a data set, such as Blosc or Bitshuffle, where HDF5 has none of its own.

    Raises MicrotomoError where hdf5plugin, which brings them, is not installed or has none for it.
    """
    properties = data.id.get_create_plist()
    for i in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(i)
        if h5py.h5z.filter_avail(code):
            continue
        named = (text(name).split(";")[0].strip("\0 ") or "a filter") + f" (HDF5 filter {code})"
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            raise MicrotomoError(
                f'{path}: is compressed with {named}, which needs hdf5plugin: pip install "microtomo[io]"'
            ) from None
        if not h5py.h5z.filter_avail(code):
            raise MicrotomoError(f"{path}: is compressed with {named}, which cannot be read here: save it with gzip")


def default_signal(file: h5py.File) -> h5py.Dataset | None:
    """The signal of the file's default NXdata group, None where the file names none."""
    group: Any = file
    for _ in range(_DEEPEST):
        if isinstance(group, h5py.Group) and "signal" in group.attrs:
            signal = group.get(text(group.attrs["signal"]))
            return signal if isinstance(signal, h5py.Dataset) else None
        if not isinstance(group, h5py.Group) or "default" not in group.attrs:
            return None
        group = group.get(text(group.attrs["default"]))
    return None


def only_candidate(path: Path, file: h5py.File) -> h5py.Dataset:
    """The one data set with 3 or 4 axes in a file that marks no default. Raises MicrotomoError for none or several."""
    candidates: list[h5py.Dataset] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (3, 4) and item.dtype.kind in "fiu":
            candidates.append(item)

    file.visititems(visit)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise MicrotomoError(
            f"{path}: holds no data set with 3 or 4 axes: a scan is (energy, y, x) or (sample, energy, y, x)"
        )
    names = ", ".join(f"{d.name} {d.shape}" for d in candidates)
    raise MicrotomoError(f"{path}: which data set is the scan? Mark one as default NXdata, or keep one a file: {names}")


def in_nm(value: float, units: str) -> float | None:
    """A length in nm, None for units that are none of length."""
    per = _NM.get(units.strip().lower())
    return None if per is None else value * per


def text(value: Any) -> str:
    """A string from an HDF5 attribute, whichever way it was stored."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
