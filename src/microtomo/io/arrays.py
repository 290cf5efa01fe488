"""Arrays of NumPy: .npy and .npz, never with Python objects in them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, cause
from microtomo.io.images import Images
from microtomo.io.names import ENERGY_NAMES

EXPORT_AGAIN = "export it again, or copy it anew"
_SCAN_NAMES = ("data", "scan")


def read_npy(path: Path) -> Images:
    """A .npy array, mapped into memory so that its size does not matter."""
    with _reading(path):
        try:
            array = np.load(path, mmap_mode="c", allow_pickle=False)
        except ValueError as error:
            if "Array can't be memory-mapped" not in str(error):
                raise
            array = np.load(path, allow_pickle=False)
    return Images(array, None, (path,))


def read_npz(path: Path, names: Sequence[str] = _SCAN_NAMES) -> Images:
    """The array called one of ``names``, else the only one with 3 or 4 axes, of a .npz archive."""
    with _reading(path):
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise MicrotomoError(f"{path}: is a .npy array under another name: rename it to .npy")
        with archive:
            # Reading every header, not the data: candidates are told by their shape.
            shapes = {name: _npz_shape(archive, name) for name in archive.files}
            candidates = [n for n in names if n in shapes] or [n for n, s in shapes.items() if len(s) in (3, 4)]
            if len(candidates) != 1 and candidates[:1] not in [[n] for n in names]:
                held = ", ".join(f"{n} {s}" for n, s in shapes.items()) or "nothing"
                raise MicrotomoError(
                    f"{path}: which array is meant? It holds {held}: name the one with 3 or 4 axes {names[0]!r}"
                )
            data = archive[candidates[0]]
            energies = next((archive[n] for n in ENERGY_NAMES if n in shapes), None)
    return Images(data, None if energies is None else numbers(energies), (path,))


def _npz_shape(archive: Any, name: str) -> tuple[int, ...]:
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape: tuple[int, ...] = read(file)[0]
        return shape


def numbers(values: Any) -> tuple[float, ...]:
    """A flat tuple of floats."""
    return tuple(float(v) for v in np.asarray(values, dtype=float).ravel())


def to_numpy(array: Any) -> np.ndarray:
    """A tensor, on whatever device, or an array as a NumPy array."""
    return array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)


@contextmanager
def reading_bytes(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged or missing file into one MicrotomoError sentence, whatever library reads it."""
    try:
        yield
    except MicrotomoError:
        raise
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be read ({error.strerror or error}): check the path") from error
    except EOFError as error:
        raise MicrotomoError(f"{path}: is empty or cut off: {EXPORT_AGAIN}") from error
    except Exception as error:  # readers of libraries fail in every way on damaged files
        raise MicrotomoError(f"{path}: is damaged or cut off ({cause(error)}): {EXPORT_AGAIN}") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    with reading_bytes(path):
        try:
            yield
        except zipfile.BadZipFile as error:
            raise MicrotomoError(f"{path}: is no .npz archive or cut off ({error}): {EXPORT_AGAIN}") from error
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise MicrotomoError(
                f"{path}: holds Python objects or is no NumPy file, and they are never loaded: save an array of numbers"
            ) from error
