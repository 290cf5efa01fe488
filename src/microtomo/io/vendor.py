"""Images in the formats of makers of microscopes, which rosettasciio reads, with energy and pixel size."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.errors import MicrotomoError, boundary, cause, naming
from microtomo.inputs import check_input, check_memory
from microtomo.io.guard import check_hdf5
from microtomo.io.hdf5 import in_nm, load_filters, reading
from microtomo.io.images import Frame
from microtomo.io.names import energy_in_name

KEV_OF = {"kev": 1.0, "kv": 1.0, "ev": 1e-3, "v": 1e-3}
"""keV in each unit of a beam energy or voltage, in small letters."""


def read_vendor(path: Path, reader: str) -> list[Frame]:
    """Images of a file by a ``reader``, the name of a module of rosettasciio.

    Raises MicrotomoError where that is not installed, and for files that it cannot read or that hold no images.
    """
    try:
        module = import_module(f"rsciio.{reader}")
    except ModuleNotFoundError as error:
        lacking = "rosettasciio" if str(error.name).startswith("rsciio") else error.name
        raise MicrotomoError(
            f'{path}: to read {path.suffix} files {lacking} is needed: pip install "microtomo[io]"'
        ) from None
    with naming(path):
        _load_filters(path)
        if reader == "mrc":
            _check_mrc(path)
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
        with boundary(path, "is damaged or cut off"):
            frames = [frame for signal in signals for frame in _of_signal(path, signal)]
        if not frames:
            raise MicrotomoError("holds no images: export the images of the backscatter detector")
    return frames


def _load_filters(path: Path) -> None:
    """Load what HDF5 needs to decompress any image of a file; nothing for other files."""
    import h5py

    if not h5py.is_hdf5(path):
        return
    check_hdf5(path, follows=True)
    with reading(path), h5py.File(path, "r") as file:
        images: list[h5py.Dataset] = []
        file.visititems(lambda _, item: images.append(item) if isinstance(item, h5py.Dataset) else None)
        for image in images:
            load_filters(path, image)
        declared = sum(image.nbytes for image in images if image.dtype.kind in "fiu")
    check_memory(path, declared, path.stat().st_size)


def _check_mrc(path: Path) -> None:
    """Raise MicrotomoError where an MRC file declares more pixels than it can hold, which its reader counts through."""
    with check_input(path).open("rb") as file:
        header = file.read(12)
    if len(header) < 12:
        raise MicrotomoError("is empty or cut off: copy it anew")
    # columns, rows and sections in either order of bytes; a pixel has half a byte at least
    pixels = [math.prod(struct.unpack(f"{order}3i", header)) for order in "<>"]
    if not any(0 < count <= 2 * path.stat().st_size for count in pixels):
        raise MicrotomoError("declares more pixels than it holds, it is damaged or cut off: copy it anew")


def _damaged(error: Exception) -> MicrotomoError:
    return MicrotomoError(
        f"is damaged, cut off or no file of this kind ({cause(error)}): export it again, or copy it anew"
    )


def _of_signal(path: Path, signal: dict[str, Any]) -> Iterator[Frame]:
    data = np.asarray(signal["data"])
    if data.dtype.kind not in "fiu" or data.ndim not in (2, 3):
        return
    axes = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))
    images = data[None] if data.ndim == 2 else data
    energies: list[float | None] = [None] * len(images)
    if data.ndim == 3:
        per = KEV_OF.get(str(axes[0].get("units", "")).lower())
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
