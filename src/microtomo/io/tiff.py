"""TIFF images: one stack of grey images a file, or a folder of single images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_input, check_memory
from microtomo.io.arrays import EXPORT_AGAIN, reading_bytes
from microtomo.io.images import Frame, Images
from microtomo.io.kinds import TIFF, files_in
from microtomo.io.names import energy_in_name
from microtomo.io.tiff_tags import tiff_energy, tiff_pixel, tiff_rows


def read_tiff(path: Path) -> Images:
    """All pages of a TIFF file: (e, y, x), or (n, e, y, x) for a hyperstack."""
    data = _pages(path)
    return Images(data[None] if data.ndim == 2 else data, None, (path,))


def read_tiff_folder(folder: Path) -> Images:
    """A folder of single-page TIFFs, one an energy.

    Energies come from names such as ``al_05keV.tif``, ``5.5 keV.tif`` or ``5000eV.tif`` where all have one; the images
    then stand in that order, else in natural order of their names. Raises MicrotomoError where there are none, and for
    images that are not of one size.
    """
    paths = files_in(folder, TIFF.suffixes)
    if not paths:
        raise MicrotomoError(f"{folder}: has no TIFF images in it: give a scan file, or the folder of one")
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


def _pages(path: Path) -> np.ndarray:
    with open_tiff(path) as tiff:
        return np.asarray(tiff.series[0].asarray())


def read_tiff_frames(path: Path) -> Iterator[Frame]:
    """Images of a TIFF file one by one, with what the microscope wrote into it, without the data bar below."""
    with open_tiff(path) as tiff:
        data = np.asarray(tiff.series[0].asarray())
        energy, pixel, rows = tiff_energy(tiff), tiff_pixel(tiff), tiff_rows(tiff)
    if data.ndim not in (2, 3):
        raise MicrotomoError(
            f"{path}: holds {data.ndim - 2} axes of images {data.shape}: keep one stack of images a file"
        )
    images = data[None] if data.ndim == 2 else data
    named = energy_in_name(path.stem)
    for i, image in enumerate(images):
        single = len(images) == 1
        yield Frame(
            image[:rows],
            path,
            path.name if single else f"{path.name} page {i + 1}",
            (energy if named is None else named) if single else None,
            pixel,
        )


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
        with _reading(check_input(path)), tifffile.TiffFile(path) as tiff:
            if not tiff.series:
                raise MicrotomoError(f"{path}: has no images in it: {EXPORT_AGAIN}")
            declared = sum(int(s.size) * max(4, np.dtype(s.dtype).itemsize) for s in tiff.series)
            check_memory(path, declared, path.stat().st_size)
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
        raise MicrotomoError(f"{path}: is damaged or cut off ({complaints.errors[0]}): {EXPORT_AGAIN}")


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

    with reading_bytes(path):
        try:
            yield
        except TiffFileError as error:
            raise MicrotomoError(f"{path}: is no TIFF image or cut off ({error}): {EXPORT_AGAIN}") from error
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise MicrotomoError(
                f'{path}: is compressed in a way that needs imagecodecs: pip install "microtomo[io]", or save it '
                "without compression"
            ) from error


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
