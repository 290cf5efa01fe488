"""Arrays of NumPy: .npy and .npz, never with Python objects in them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, cause
from microtomo.inputs import check_input, check_memory
from microtomo.io.images import Images
from microtomo.io.names import ENERGY_NAMES

EXPORT_AGAIN = "export it again, or copy it anew"
_SCAN_NAMES = ("data", "scan")


def read_npy(path: Path) -> Images:
    """A .npy array, mapped into memory so that its size does not matter."""
    with reading_arrays(check_input(path)):
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise MicrotomoError(f"{path}: is a .npz archive under another name: rename it to .npz")
    return Images(array, None, (path,))


def read_npz(path: Path, names: Sequence[str] = _SCAN_NAMES) -> Images:
    """The array called one of ``names``, else the only one with 3 or 4 axes, of a .npz archive."""
    with Npz(path) as archive, reading_arrays(path):
        # Reading every header, not the data: candidates are told by their shape.
        shapes = archive.shapes
        candidates = [n for n in names if n in shapes] or [n for n, s in shapes.items() if len(s) in (3, 4)]
        if len(candidates) != 1 and candidates[:1] not in [[n] for n in names]:
            held = ", ".join(f"{n} {s}" for n, s in shapes.items()) or "nothing"
            raise MicrotomoError(
                f"{path}: which array is meant? It holds {held}: name the one with 3 or 4 axes {names[0]!r}"
            )
        data = archive[candidates[0]]
        energies = next((archive[n] for n in ENERGY_NAMES if n in shapes), None)
    return Images(data, None if energies is None else numbers(energies), (path,))


class Npz:
    """A .npz archive that is open for reading: arrays of numbers by name, none larger than the archive warrants."""

    def __init__(self, path: str | Path) -> None:
        self.path = check_input(path)
        with reading_arrays(self.path):
            archive = np.load(self.path, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise MicrotomoError(f"{path}: is a .npy array under another name: rename it to .npy")
            self._archive = archive
            try:
                headers = {name: self._header(name) for name in archive.files}
            except BaseException:
                archive.close()
                raise
        self.shapes = {name: shape for name, (shape, _) in headers.items()}
        self._bytes = {name: math.prod(shape) * max(4, dtype.itemsize) for name, (shape, dtype) in headers.items()}

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *error: object) -> None:
        self._archive.close()

    def __getitem__(self, name: str) -> np.ndarray:
        """An array in memory. Raises MicrotomoError where it is missing, damaged or too large."""
        with reading_arrays(self.path):
            check_memory(self.path, self._bytes[name], self.path.stat().st_size)
            return np.asarray(self._archive[name])

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        zipped: Any = self._archive.zip
        member = name if name in zipped.namelist() else f"{name}.npy"
        with zipped.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            return shape, dtype


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
    except (MicrotomoError, MemoryError):
        raise
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be read ({error.strerror or error}): check the path") from error
    except EOFError as error:
        raise MicrotomoError(f"{path}: is empty or cut off: {EXPORT_AGAIN}") from error
    except Exception as error:  # readers of libraries fail in every way on damaged files
        raise MicrotomoError(f"{path}: is damaged or cut off ({cause(error)}): {EXPORT_AGAIN}") from error


@contextmanager
def reading_arrays(path: Path) -> Iterator[None]:
    """The same for files of NumPy."""
    with reading_bytes(path):
        try:
            yield
        except zipfile.BadZipFile as error:
            raise MicrotomoError(f"{path}: is no .npz archive or cut off ({error}): {EXPORT_AGAIN}") from error
        except ValueError as error:
            if "allow_pickle" not in str(error) and "Python objects" not in str(error):
                raise
            raise MicrotomoError(
                f"{path}: holds Python objects or is no NumPy file, and they are never loaded: save an array of numbers"
            ) from error
