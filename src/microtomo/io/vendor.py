"""Reading what microscopes save: images one by one, with energy and pixel size where the file tells them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import TIFF_SUFFIXES, energy_in_name, natural_order, open_tiff
from microtomo.io.hdf5 import in_nm, load_filters, reading
from microtomo.io.sources import HDF5_SUFFIXES, naming, open_scan
from microtomo.io.vendor_tags import tiff_energy, tiff_pixel, tiff_rows

_READERS = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".emd": "emd", ".hspy": "hspy", ".ser": "tia",
    ".mrc": "mrc",
}  # fmt: skip
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_KEV = {"kev": 1.0, "kv": 1.0, "ev": 1e-3, "v": 1e-3}
KNOWN = ".tif, " + ", ".join(_READERS) + ", .h5, .nxs"


@dataclass(frozen=True)
class Frame:
    """One image (y, x) as recorded, where it is from, its energy [keV] and pixel size [nm] where the file says."""

    image: np.ndarray
    path: Path
    name: str
    energy_kev: float | None = None
    pixel_nm: float | None = None


def read_frames(places: Sequence[str | Path], energies_kev: Sequence[float] | None = None) -> list[Frame]:
    """All images of files, folders and patterns such as ``scan/*.tif``, in natural order of the names.

    TIFF needs nothing more, .dm3, .dm4, .emd, .hspy and others rosettasciio. Energies come from the file's own axis,
    else from its name, else from what the microscope wrote into it. ``energies_kev`` is for HDF5 files without any.
    Raises MicrotomoError, with the file name, for whatever cannot be read as images of a microscope.
    """
    return [frame for path in _files(places) for frame in _frames(path, energies_kev)]


def _files(places: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for place in places:
        path = Path(place)
        if path.is_dir() and not (path / "index.h5").exists():
            inside = [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
            known = [p for p in inside if p.suffix.lower() in (*TIFF_SUFFIXES, *_READERS, *_PICTURES)]
            if not known:
                raise MicrotomoError(f"{path}: has no images in it that can be read: give a folder of {KNOWN}")
            found += sorted(known, key=natural_order)
        elif path.exists():
            found.append(path)
        else:
            matches = sorted((Path(p) for p in glob(str(place))), key=natural_order)
            if not matches:
                raise MicrotomoError(f"{place}: no such file: check the path")
            found += matches
    return list(dict.fromkeys(found))


def _frames(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    kind = path.suffix.lower()
    if kind in TIFF_SUFFIXES:
        yield from _tiff(path)
    elif kind in _READERS:
        yield from _other(path, _READERS[kind])
    elif kind in HDF5_SUFFIXES or path.is_dir():
        yield from _hdf5(path, energies_kev)
    elif kind in _PICTURES:
        raise MicrotomoError(
            f"{path}: is a picture for the screen ({kind}), whose grey values are no detector signal any more: save "
            "the images as TIFF with all bits, without colours, scale bar and contrast adjustment"
        )
    else:
        raise MicrotomoError(
            f"{path}: unknown kind of file {kind or '(no extension)'}: give {KNOWN} or a folder of them"
        )


def _tiff(path: Path) -> Iterator[Frame]:
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


def _hdf5(path: Path, energies_kev: Sequence[float] | None) -> Iterator[Frame]:
    with open_scan(path, None if energies_kev is None else tuple(energies_kev), stack=None) as source:
        if source.samples is not None:
            raise MicrotomoError(f"{path}: holds {source.samples} scans: import one scan at a time")
        data, energies, pixel = np.asarray(source.data[...]), source.energies_kev, source.pixel_nm
    for image, energy in zip(data, energies, strict=True):
        yield Frame(image, path, f"{path.name} at {energy:g} keV", energy, pixel)


def _other(path: Path, reader: str) -> Iterator[Frame]:
    """Images of a format that rosettasciio reads."""
    try:
        module = import_module(f"rsciio.{reader}")
    except ModuleNotFoundError as error:
        lacking = "rosettasciio" if str(error.name).startswith("rsciio") else error.name
        raise MicrotomoError(
            f'{path}: to read {path.suffix} files {lacking} is needed: pip install "microtomo[io]"'
        ) from None
    with naming(path):
        _load_filters(path)
        try:
            signals = module.file_reader(str(path), **({"select_type": "images"} if reader == "emd" else {}))
        except MicrotomoError:
            raise
        except OSError as error:
            if error.errno:
                raise MicrotomoError(f"cannot be read ({error.strerror}): check the path") from error
            raise _damaged(error) from error
        except Exception as error:  # readers of foreign formats fail in every way on damaged files
            raise _damaged(error) from error
        found = [frame for signal in signals for frame in _of_signal(path, signal)]
        if not found:
            raise MicrotomoError("holds no images: export the images of the backscatter detector")
    yield from found


def _load_filters(path: Path) -> None:
    """Load what HDF5 needs to decompress any image of a file; nothing for other files."""
    import h5py

    if not h5py.is_hdf5(path):
        return
    with reading(path), h5py.File(path, "r") as file:
        images: list[h5py.Dataset] = []
        file.visititems(lambda _, item: images.append(item) if isinstance(item, h5py.Dataset) else None)
        for image in images:
            load_filters(path, image)


def _damaged(error: Exception) -> MicrotomoError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return MicrotomoError(f"is damaged, cut off or no file of this kind ({first}): export it again, or copy it anew")


def _of_signal(path: Path, signal: dict[str, Any]) -> Iterator[Frame]:
    data = np.asarray(signal["data"])
    if data.dtype.kind not in "fiu" or data.ndim not in (2, 3):
        return
    axes = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))
    images = data[None] if data.ndim == 2 else data
    energies: list[float | None] = [None] * len(images)
    if data.ndim == 3:
        per = _KEV.get(str(axes[0].get("units", "")).lower())
        if per is not None:
            energies = [float(value) * per for value in _axis(axes[0], len(images))]
    elif (named := energy_in_name(path.stem)) is not None:
        energies = [named]
    else:
        energies = [_beam_energy(signal)]
    sizes = {in_nm(abs(float(a["scale"])), str(a.get("units") or "")) for a in axes[-2:] if "scale" in a} - {None}
    if len(sizes) == 2 and not math.isclose(*sizes, rel_tol=1e-3):  # type: ignore[arg-type]
        raise MicrotomoError(f"pixels are {' x '.join(f'{s:g}' for s in sizes)} nm, not square: resample the images")
    title = str(signal.get("metadata", {}).get("General", {}).get("title", "") or "")
    for i, (image, energy) in enumerate(zip(images, energies, strict=True)):
        which = "" if len(images) == 1 else f" image {i + 1}"
        yield Frame(image, path, f"{path.name}{which}{f' ({title})' if title else ''}", energy, next(iter(sizes), None))


def _axis(axis: dict[str, Any], size: int) -> np.ndarray:
    if "axis" in axis:
        return np.asarray(axis["axis"], dtype=float)
    return float(axis.get("offset", 0)) + float(axis.get("scale", 1)) * np.arange(size)


def _beam_energy(signal: dict[str, Any]) -> float | None:
    """Beam energy [keV] from the metadata of rosettasciio, or from where its mapping says that it stands."""
    for microscope in ("SEM", "TEM"):
        value = _at(signal.get("metadata", {}), f"Acquisition_instrument.{microscope}.beam_energy")
        if value is not None:
            return float(value)
    for source, (target, convert) in signal.get("mapping", {}).items():
        if str(target).endswith("beam_energy"):
            value = _at(signal.get("original_metadata", {}), source)
            if value is not None:
                return float(value if convert is None else convert(value)) or None
    return None


def _at(tree: Any, place: str) -> Any:
    for key in place.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
