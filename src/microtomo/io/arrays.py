"""Scans that come as plain arrays or images: .npy, .npz, multi-page TIFF, a folder of TIFFs."""

from __future__ import annotations

import logging
import re
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError

TIFF_SUFFIXES = (".tif", ".tiff")
ENERGY_NAMES = ("energies_kev", "energy_kev", "energies", "energy")
_SCAN_NAMES = ("data", "scan")
_EXPORT = "export it again, or copy it anew"


@dataclass(frozen=True)
class Images:
    """An array (e, y, x) or (n, e, y, x), the energies [keV] that came with it, if any, and the files it is from."""

    data: Any
    energies_kev: tuple[float, ...] | None
    files: tuple[Path, ...]


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


def read_tiff(path: Path) -> Images:
    """All pages of a TIFF file: (e, y, x), or (n, e, y, x) for a hyperstack."""
    data = _pages(path)
    return Images(data[None] if data.ndim == 2 else data, None, (path,))


def read_tiff_folder(folder: Path) -> Images:
    """A folder of single-page TIFFs, one an energy.

    Energies come from names such as ``al_05keV.tif``, ``5.5 keV.tif`` or ``5000eV.tif`` where all have one; the images
    then stand in that order, else in natural order of their names.
    """
    paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in TIFF_SUFFIXES), key=natural_order)
    if not paths:
        if splits := sorted(index.parent.name for index in folder.glob("*/index.h5")):
            raise MicrotomoError(f"{folder}: holds the data sets {', '.join(splits)}: give one of those folders")
        raise MicrotomoError(
            f"{folder}: has neither index.h5 nor TIFF images in it: give a scan file, or the folder of one"
        )
    named = [energy_in_name(p.stem) for p in paths]
    energies = None
    if all(e is not None for e in named):
        pairs = sorted(zip((e for e in named if e is not None), paths, strict=True), key=lambda pair: pair[0])
        energies, paths = tuple(e for e, _ in pairs), [p for _, p in pairs]
    images: list[np.ndarray] = []
    for path in paths:
        image = _pages(path)
        if image.ndim != 2:
            raise MicrotomoError(f"{path}: holds {len(image)} pages: a folder of images has one page a file")
        if images and image.shape != images[0].shape:
            raise MicrotomoError(
                f"{path}: is {_size(image)} pixels but {paths[0].name} is {_size(images[0])}: crop or register "
                "them to one size"
            )
        images.append(image)
    return Images(np.stack(images), energies, tuple(paths))


def numbers(values: Any) -> tuple[float, ...]:
    """A flat tuple of floats."""
    return tuple(float(v) for v in np.asarray(values, dtype=float).ravel())


def _pages(path: Path) -> np.ndarray:
    with open_tiff(path) as tiff:
        return np.asarray(tiff.series[0].asarray())


@contextmanager
def open_tiff(path: Path) -> Iterator[Any]:
    """A TIFF file of one stack of grey images, open for reading, as ``tifffile.TiffFile``.

    Raises MicrotomoError for anything else, also after the block where what was read in it is damaged.
    """
    import tifffile

    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(complaints)
    try:
        with _reading(path), tifffile.TiffFile(path) as tiff:
            if any(len(page.shape) > 2 and "S" in page.axes for page in tiff.series[0].pages[:1]):
                raise MicrotomoError(f"{path}: is a colour (RGB) image: save the detector signal as grey values")
            colours = getattr(tiff.pages.first, "colormap", None)
            if colours is not None and (colours != colours[0]).any():
                raise MicrotomoError(f"{path}: is in false colours (palette): save the detector signal as grey values")
            if len(tiff.series) > 1:
                sizes = ", ".join(dict.fromkeys("x".join(map(str, s.shape[-2:])) for s in tiff.series))
                raise MicrotomoError(
                    f"{path}: holds images of different sizes or types ({sizes}): keep one stack a file"
                )
            yield tiff
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagate
    if complaints.errors:
        raise MicrotomoError(f"{path}: is damaged or cut off ({complaints.errors[0]}): {_EXPORT}")


class _Complaints(logging.Handler):
    """Collects what tifffile only logs: a file cut in half loses pages without an exception."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record.getMessage().splitlines()[0])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    from tifffile import TiffFileError

    try:
        yield
    except MicrotomoError:
        raise
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be read ({error.strerror or error}): check the path") from error
    except EOFError as error:
        raise MicrotomoError(f"{path}: is empty or cut off: {_EXPORT}") from error
    except zipfile.BadZipFile as error:
        raise MicrotomoError(f"{path}: is no .npz archive or cut off ({error}): {_EXPORT}") from error
    except TiffFileError as error:
        raise MicrotomoError(f"{path}: is no TIFF image or cut off ({error}): {_EXPORT}") from error
    except (ValueError, KeyError, IndexError, struct.error) as error:
        if "imagecodecs" in str(error):
            raise MicrotomoError(
                f'{path}: is compressed in a way that needs imagecodecs: pip install "microtomo[io]", or save it '
                "without compression"
            ) from error
        if "allow_pickle" in str(error):
            raise MicrotomoError(
                f"{path}: holds Python objects or is no NumPy file, and they are never loaded: save an array of numbers"
            ) from error
        raise MicrotomoError(f"{path}: is damaged or cut off ({error}): {_EXPORT}") from error


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorts names with numbers in them as people do: image9 before image10."""
    parts = re.split(r"(\d+)", path.stem)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts]


def energy_in_name(stem: str) -> float | None:
    """Energy [keV] in a file name such as ``al_05keV``, ``5.5 keV``, ``5000eV``, ``5.0kV``; None without one."""
    match = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)[ _-]?(k?)e?V(?![a-z])", stem, re.IGNORECASE)
    return None if match is None else float(match[1]) * (1.0 if match[2] else 0.001)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
