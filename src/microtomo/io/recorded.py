"""Reading what microscopes save: images one by one, with energy and pixel size where the file tells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.images import Frame
from microtomo.io.kinds import PICTURE, RECORDED_SUFFIXES, Kind, files_in, format_of, kind_of, suffix_of
from microtomo.io.names import natural_order
from microtomo.io.sources import open_scan
from microtomo.io.tiff import read_tiff_frames
from microtomo.io.vendor import read_vendor

_READABLE = ", ".join((*RECORDED_SUFFIXES, ".h5", ".nxs"))


def read_image_file(path: Path) -> list[Frame]:
    """All images of one file of a microscope: TIFF, or a format that rosettasciio reads.

    Raises MicrotomoError, with the file name, for files of other kinds and for whatever cannot be read.
    """
    known = format_of(path)
    if known is not None and known.rsciio is not None:
        return read_vendor(path, known.rsciio)
    return list(read_tiff_frames(path))


def read_frames(places: Sequence[str | Path], energies_kev: Sequence[float] | None = None) -> list[Frame]:
    """All images of files, folders and patterns such as ``scan/*.tif``, in natural order of the names.

    TIFF needs nothing more, .dm3, .dm4, .emd, .hspy and others rosettasciio. Energies come from the file's own axis,
    else from its name, else from what the microscope wrote into it. ``energies_kev`` is for HDF5 files without any.
    Raises MicrotomoError, with the file name, for whatever cannot be read as images of a microscope.
    """
    return [frame for path in _files(places) for frame in _frames(path, energies_kev)]


def _files(places: Sequence[str | Path]) -> list[Path]:
    paths: list[Path] = []
    for place in places:
        path = Path(place)
        if path.is_dir() and kind_of(path) is not Kind.DATA_SET:
            inside = files_in(path, (*RECORDED_SUFFIXES, *PICTURE.suffixes))
            if not inside:
                raise MicrotomoError(f"{path}: has no images in it that can be read: give a folder of {_READABLE}")
            paths += inside
        elif path.exists():
            paths.append(path)
        else:
            matches = sorted((Path(p) for p in glob(str(place))), key=natural_order)
            if not matches:
                raise MicrotomoError(f"{place}: no such file: check the path")
            paths += matches
    return list(dict.fromkeys(paths))


def _frames(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    kind = kind_of(path)
    if kind is Kind.RECORDED:
        yield from read_image_file(path)
    elif kind in (Kind.SCAN, Kind.RECONSTRUCTION, Kind.DATA_SET):
        yield from _hdf5(path, energies_kev)
    elif kind is Kind.PICTURE:
        raise MicrotomoError(
            f"{path}: is {kind.value} ({suffix_of(path)}), whose grey values are no detector signal any more: save "
            "the images as TIFF with all bits, without colours, scale bar and contrast adjustment"
        )
    else:
        raise MicrotomoError(f"{path}: unknown kind of file {suffix_of(path)}: give {_READABLE} or a folder of them")


def _hdf5(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    with open_scan(path, None if energies_kev is None else tuple(energies_kev), stack=None) as source:
        if source.samples is not None:
            raise MicrotomoError(f"{path}: holds {source.samples} scans: import one scan at a time")
        data, energies, pixel = np.asarray(source.data[...]), source.energies_kev, source.pixel_nm
    for image, energy in zip(data, energies, strict=True):
        yield Frame(image, path, f"{path.name} at {energy:g} keV", energy, pixel)
