"""Reading what microscopes save: images one by one, with energy and pixel size where the file tells them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError, few, naming
from microtomo.io.arrays import read_npy, read_npz
from microtomo.io.images import Frame
from microtomo.io.kinds import (
    NPY,
    PICTURE,
    RECORDED_SUFFIXES,
    RESULT_ENDINGS,
    Kind,
    files_in,
    format_of,
    kind_of,
    suffix_of,
)
from microtomo.io.names import energy_by_pattern, energy_in_name, natural_order
from microtomo.io.sources import open_scan
from microtomo.io.tiff import read_tiff_frames
from microtomo.io.vendor import read_vendor

_READABLE = ", ".join((*RECORDED_SUFFIXES, ".npy", ".npz", ".h5", ".nxs"))


def read_image_file(path: Path) -> list[Frame]:
    """All images of one file of a microscope: TIFF, or a format that rosettasciio reads.

    Raises MicrotomoError, with the file name, for files of other kinds and for whatever cannot be read.
    """
    known = format_of(path)
    if known is not None and known.rsciio is not None:
        return read_vendor(path, known.rsciio)
    return list(read_tiff_frames(path))


def read_frames(
    places: Sequence[str | Path], energies_kev: Sequence[float] | None = None, energy_pattern: str | None = None
) -> list[Frame]:
    """All images of files, folders and patterns such as ``scan/*.tif``, in natural order of the names.

    TIFF, .npy and .npz need nothing more, .dm3, .dm4, .emd, .hspy and others rosettasciio. Energies come from the
    file's own axis, else from its name (by ``energy_pattern``, see :func:`microtomo.io.names.energy_by_pattern`, where
    given), else from what the microscope wrote into it. ``energies_kev`` is for HDF5 files without any.
    Raises MicrotomoError, with the file name, for whatever cannot be read as images of a microscope.
    """
    frames = [frame for path in _files(places) for frame in _frames(path, energies_kev)]
    return frames if energy_pattern is None else [_by_pattern(frame, energy_pattern) for frame in frames]


def _by_pattern(frame: Frame, pattern: str) -> Frame:
    with naming(frame.path):
        return replace(frame, energy_kev=energy_by_pattern(frame.path.name, pattern))


def _files(places: Sequence[str | Path]) -> list[Path]:
    paths: list[Path] = []
    for place in places:
        path = Path(place)
        if path.is_dir() and kind_of(path) is not Kind.DATA_SET:
            paths += _inside(path)
        elif path.exists():
            paths.append(path)
        else:
            matches = sorted((Path(p) for p in glob(str(place))), key=natural_order)
            if not matches:
                raise MicrotomoError(f"{place}: no such file: check the path")
            paths += matches
    return list(dict.fromkeys(paths))


def _inside(folder: Path) -> list[Path]:
    """Images of a folder: those of a microscope, else arrays, else pictures, which are refused with a reason. What this
    package wrote beside them, and pictures beside images of a microscope, are no recorded images."""
    for suffixes in (RECORDED_SUFFIXES, NPY.suffixes, PICTURE.suffixes):
        images = [path for path in files_in(folder, suffixes) if not path.stem.endswith(RESULT_ENDINGS)]
        if images:
            break
    else:
        raise MicrotomoError(f"{folder}: has no images in it that can be read: give a folder of {_READABLE}")
    others = files_in(folder, (*RECORDED_SUFFIXES, *NPY.suffixes, *PICTURE.suffixes))
    if skipped := [path.name for path in others if path not in images]:
        warnings.warn(f"{folder}: left out {few(skipped)}, which no microscope recorded", stacklevel=2)
    return images


def _frames(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    kind = kind_of(path)
    if kind is Kind.RECORDED:
        yield from read_image_file(path)
    elif kind in (Kind.SCAN, Kind.RECONSTRUCTION, Kind.DATA_SET):
        yield from _hdf5(path, energies_kev)
    elif kind is Kind.ARRAY:
        yield from _array(path)
    elif kind is Kind.PICTURE:
        raise MicrotomoError(
            f"{path}: is {kind.value} ({suffix_of(path)}), whose grey values are no detector signal any more: save "
            "the images as TIFF with all bits, without colours, scale bar and contrast adjustment"
        )
    else:
        raise MicrotomoError(f"{path}: unknown kind of file {suffix_of(path)}: give {_READABLE} or a folder of them")


def _array(path: Path) -> Iterator[Frame]:
    images = read_npy(path) if format_of(path) is NPY else read_npz(path)
    data = np.asarray(images.data)
    if data.ndim not in (2, 3):
        raise MicrotomoError(f"{path}: has shape {data.shape}: import one image (y, x), or a stack (energy, y, x)")
    if data.ndim == 2:
        yield Frame(data, path, path.name, energy_in_name(path.stem))
        return
    energies: Sequence[float | None] = images.energies_kev or [None] * len(data)
    if len(energies) != len(data):
        raise MicrotomoError(f"{path}: holds {len(data)} images but {len(energies)} energies: export it again")
    for i, (image, energy) in enumerate(zip(data, energies, strict=True)):
        yield Frame(image, path, f"{path.name} image {i + 1}", energy)


def _hdf5(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    with open_scan(path, None if energies_kev is None else tuple(energies_kev), stack=None) as source:
        if source.samples is not None:
            raise MicrotomoError(f"{path}: holds {source.samples} scans: import one scan at a time")
        data, energies, pixel = np.asarray(source.data[...]), source.energies_kev, source.pixel_nm
    for image, energy in zip(data, energies, strict=True):
        yield Frame(image, path, f"{path.name} at {energy:g} keV", energy, pixel)
