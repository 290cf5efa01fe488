"""From a path to what it holds: every suffix that is read, and the one ladder that all readers take first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import h5py

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_input
from microtomo.io.hdf5 import reading
from microtomo.io.names import natural_order
from microtomo.io.nexus import INDEX, open_nexus


@dataclass(frozen=True)
class Format:
    """A format of files: its name, its suffixes, and the module of rosettasciio that reads it, if that is what does."""

    name: str
    suffixes: tuple[str, ...]
    rsciio: str | None = None


HDF5 = Format("HDF5", (".h5", ".hdf5", ".nxs", ".nx", ".hdf", ".nexus"))
NPY = Format("NumPy array", (".npy",))
NPZ = Format("NumPy archive", (".npz",))
TIFF = Format("TIFF", (".tif", ".tiff"))
PICTURE = Format("picture", (".png", ".bmp", ".jpg", ".jpeg", ".pgm", ".gif", ".webp"))
VENDORS = (
    Format("DigitalMicrograph", (".dm3", ".dm4"), "digitalmicrograph"),
    Format("EMD", (".emd",), "emd"),
    Format("HyperSpy", (".hspy",), "hspy"),
    Format("TIA", (".ser",), "tia"),
    Format("MRC", (".mrc",), "mrc"),
)
FORMATS = (HDF5, NPY, NPZ, TIFF, PICTURE, *VENDORS)

RECORDED_SUFFIXES = (*TIFF.suffixes, *(suffix for known in VENDORS for suffix in known.suffixes))
"""Suffixes of what microscopes save."""
MICROGRAPH_SUFFIXES = (*TIFF.suffixes, *PICTURE.suffixes, *NPY.suffixes, *RECORDED_SUFFIXES[len(TIFF.suffixes) :])
"""Suffixes of files that can hold one grey image."""

RESULT_ENDINGS = ("_mask", "_overlay", "_probability", "_uncertainty", "_LABEL")
"""Ends of names of what is computed from an image, or is its label, and no image itself."""


class Kind(Enum):
    """What a path holds, in words that fit after "holds"."""

    SCAN = "a scan"
    RECONSTRUCTION = "a reconstruction"
    DATA_SET = "a data set"
    DATA_SETS = "data sets"
    ARRAY = "an array"
    RECORDED = "recorded images"
    PICTURE = "a picture for the screen"
    FOLDER_OF_IMAGES = "images"
    FOLDER = "nothing that is known"
    UNKNOWN = "no known kind of file"


def format_of(path: Path) -> Format | None:
    """The format of a file by its suffix; HDF5 is recognised under any other name too. None for an unknown one."""
    suffix = path.suffix.lower()
    known = next((known for known in FORMATS if suffix in known.suffixes), None)
    return HDF5 if known is None and path.is_file() and h5py.is_hdf5(path) else known


def kind_of(path: str | Path) -> Kind:
    """What a path holds: by its folder, its suffix, and for HDF5 by what stands in the file.

    Raises MicrotomoError, with the path, where there is nothing or an HDF5 file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise MicrotomoError(f"{path}: no such file: check the path")
    if path.is_dir():
        return _folder(path)
    known = format_of(path)
    check_input(path)
    if known is HDF5:
        with open_nexus(path) as (_, entry), reading(path):
            return Kind.RECONSTRUCTION if entry is not None and entry.is_reconstruction else Kind.SCAN
    if known in (NPY, NPZ):
        return Kind.ARRAY
    if known is TIFF or known in VENDORS:
        return Kind.RECORDED
    return Kind.PICTURE if known is PICTURE else Kind.UNKNOWN


def data_sets_in(folder: Path) -> list[str]:
    """Names of the folders in ``folder`` that are data sets: its splits."""
    return sorted(index.parent.name for index in folder.glob(f"*/{INDEX}"))


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder with one of the suffixes, hidden ones left out, in natural order of their names."""
    inside = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted((path for path in inside if path.suffix.lower() in suffixes), key=natural_order)


def suffix_of(path: Path) -> str:
    """The suffix in small letters, or words where there is none; for sentences."""
    return path.suffix.lower() or "(no extension)"


def _folder(path: Path) -> Kind:
    if (path / INDEX).exists():
        return Kind.DATA_SET
    if files_in(path, (*RECORDED_SUFFIXES, *PICTURE.suffixes)):
        return Kind.FOLDER_OF_IMAGES
    return Kind.DATA_SETS if data_sets_in(path) else Kind.FOLDER
