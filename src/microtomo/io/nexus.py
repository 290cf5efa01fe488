"""Our own HDF5 files, in NeXus form: the one place that knows what stands where in them (docs/files.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.hdf5 import open_hdf5, reading, text
from microtomo.materials import Stack, make_stack

INDEX = "index.h5"
"""The file in a folder that makes it a data set: all its shards as one scan."""
ENTRY = "entry"
SCAN, THICKNESS, UNCERTAINTY, VOLUME, FIT, TRUTH = "data", "thickness", "uncertainty", "volume", "fit", "truth"
"""Groups of NXdata under /entry."""
SAMPLES = "samples"
"""Group of what is known of each sample of a data set."""
SIGNAL, STATUS, REJECTED = "data", "status", "rejected"
"""Names of the data sets in a group."""
VERDICT = "verdict"
"""Group of the verdicts on the samples: one JSON object each."""
FORWARD = "contrast"
"""Attribute of /entry that names the forward model; the word is that of the first files."""

MAPPED_BYTES = 1 << 30
"""Larger arrays are mapped from disk, not read: a scan of 2 GB is no reason to swap."""

_WRITER = "microtomo_version"  # attribute that marks our files
_CHUNK_PIXELS = 1024  # along y and x: HDF5 allows 4 GiB a chunk


@dataclass(frozen=True)
class Entry:
    """The group /entry of a file: its arrays by their meaning, and what its attributes say."""

    group: h5py.Group
    path: Path

    @classmethod
    def of(cls, file: h5py.File, path: Path) -> Entry | None:
        """The entry of a file, whoever wrote it; None where there is none."""
        group = file.get(ENTRY)
        return cls(group, path) if isinstance(group, h5py.Group) else None

    @property
    def ours(self) -> bool:
        """Whether this package wrote the file."""
        return _WRITER in self.group.attrs

    @property
    def is_reconstruction(self) -> bool:
        """Whether the file is ours and holds a reconstruction."""
        return self.ours and ("method" in self.group.attrs or FIT in self.group)

    def data(self, group: str, name: str = SIGNAL) -> h5py.Dataset | None:
        """A data set of a group such as :data:`THICKNESS`, None where it is missing."""
        data = self.group.get(f"{group}/{name}")
        return data if isinstance(data, h5py.Dataset) else None

    @property
    def stack(self) -> Stack | None:
        """The stack that the file names, None where it names none. Raises MicrotomoError where it is spoilt."""
        if "stack" not in self.group.attrs:
            return None
        try:
            table = json.loads(text(self.group.attrs["stack"]))
        except json.JSONDecodeError as error:
            raise MicrotomoError(
                f"{self.path}: attribute stack of /{ENTRY} is not JSON ({error}): pass the stack"
            ) from None
        if not isinstance(table, dict):
            raise MicrotomoError(f"{self.path}: attribute stack of /{ENTRY} describes no stack: pass the stack")
        return make_stack(table, source=f"{self.path}, attribute stack")

    @property
    def history(self) -> dict[str, Any]:
        """The configuration stored with the file, empty where there is none or it is not a JSON object."""
        try:
            history = json.loads(text(self.group.attrs.get("config", "{}")))
        except json.JSONDecodeError:
            return {}
        return history if isinstance(history, dict) else {}

    def text(self, name: str) -> str | None:
        """An attribute as text, None where absent."""
        return text(self.group.attrs[name]) if name in self.group.attrs else None

    def number(self, name: str) -> float | None:
        """An attribute as a number, None where absent. Raises MicrotomoError where it is none."""
        if name not in self.group.attrs:
            return None
        try:
            return float(self.group.attrs[name])
        except (TypeError, ValueError):
            value = self.group.attrs[name]
            raise MicrotomoError(f"{self.path}: attribute {name} of /{ENTRY} is {value!r}, not a number") from None


def address(group: str, name: str = SIGNAL) -> str:
    """Where a data set stands in a file, such as ``/entry/thickness/data``."""
    return f"/{ENTRY}/{group}/{name}"


def nexus_file(path: Path) -> Path:
    """The HDF5 file that a path means: itself, or the index of a data set's folder."""
    return path / INDEX if path.is_dir() else path


@contextmanager
def open_nexus(path: str | Path) -> Iterator[tuple[h5py.File, Entry | None]]:
    """An HDF5 file, or the index of a data set's folder, open for reading, and its entry, if it has one.

    Raises MicrotomoError where it cannot be opened; what is read in the block needs
    :func:`microtomo.io.hdf5.reading` around it.
    """
    path = Path(path)
    if path.is_dir() and not nexus_file(path).exists():
        raise MicrotomoError(f"{path}: has no {INDEX} in it")
    with open_hdf5(nexus_file(path)) as file:
        with reading(path):
            entry = Entry.of(file, path)
        yield file, entry


@dataclass(frozen=True)
class Axis:
    """Coordinates along one axis of a data set, with their unit."""

    values: Sequence[float] | np.ndarray
    units: str = ""


def pixel_axes(height: int, width: int, pixel_nm: float) -> dict[str, Axis]:
    """Axes y and x of an image: pixel index times pixel size [nm]."""
    return {"y": Axis(np.arange(height) * pixel_nm, "nm"), "x": Axis(np.arange(width) * pixel_nm, "nm")}


def write_entry(file: h5py.File, default: str, attributes: Mapping[str, Any]) -> h5py.Group:
    """Create /entry with its attributes; dictionaries and stacks are stored as JSON, None is left out."""
    file.attrs.update({"NX_class": "NXroot", "default": ENTRY})
    entry = file.create_group(ENTRY)
    entry.attrs.update({"NX_class": "NXentry", "default": default, _WRITER: version("microtomo")})
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, Stack):
            value = value.model_dump_json()
        elif isinstance(value, Mapping):
            value = json.dumps(value, default=str)
        if isinstance(value, str):  # names of files may be no text
            value = value.encode("utf-8", "backslashreplace").decode()
        entry.attrs[name] = value
    return entry


def create_data(
    entry: h5py.Group,
    name: str,
    dtype: Any,
    axes: Mapping[str, Axis],
    *,
    long_name: str,
    units: str = "",
    one_chunk_each: int = 0,
    compressed: bool = False,
) -> h5py.Dataset:
    """Create an NXdata group with an unfilled signal ``data`` spanned by ``axes``, slowest first.

    ``one_chunk_each``: that many leading axes are chunked by one, the others whole; 0 is an image a chunk. Each chunk
    has a checksum (Fletcher32) that HDF5 checks wherever it is read. What has :data:`MAPPED_BYTES` or more and is not
    chunked by samples stands in one piece, to be mapped into memory.
    """
    group = entry.create_group(name)
    group.attrs.update({"NX_class": "NXdata", "signal": SIGNAL, "axes": list(axes), "interpretation": "image"})
    shape = tuple(len(axis.values) for axis in axes.values())
    chunks = None
    if one_chunk_each or compressed or math.prod(shape) * np.dtype(dtype).itemsize < MAPPED_BYTES:
        ones = one_chunk_each or (0 if compressed else len(shape) - 2)
        images = (1,) * ones + shape[ones:-2]
        chunks = (*images, *(max(1, min(size, _CHUNK_PIXELS)) for size in shape[-2:]))
    options: dict[str, Any] = {"fletcher32": chunks is not None}
    if compressed:
        options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    data = group.create_dataset(SIGNAL, shape=shape, dtype=dtype, chunks=chunks, **options)
    data.attrs.update({"interpretation": "image", "long_name": long_name, "units": units})
    for index, (axis_name, axis) in enumerate(axes.items()):
        group.attrs[f"{axis_name}_indices"] = index
        values = group.create_dataset(axis_name, data=np.asarray(axis.values))
        values.attrs["units"] = axis.units
    return data


def create_scan(
    file: h5py.File,
    shape: Sequence[int],
    dtype: Any,
    *,
    energies_kev: Sequence[float],
    pixel_nm: float,
    attributes: Mapping[str, Any],
    layers: int | None = None,
    first_sample: int = 0,
) -> tuple[h5py.Dataset, h5py.Dataset | None]:
    """Lay out a scan file of ``shape`` (e, y, x) or (n, e, y, x) and return its unfilled data sets.

    The second is the true thickness ([n,] l, y, x) [nm] where ``layers`` are given, else None.
    """
    *leading, _, height, width = shape
    sample = {"sample": Axis(np.arange(first_sample, first_sample + leading[0]))} if leading else {}
    pixels = pixel_axes(height, width, pixel_nm)
    entry = write_entry(file, SCAN, attributes)
    data = create_data(
        entry,
        SCAN,
        dtype,
        {**sample, "energy": Axis(np.asarray(energies_kev, float), "keV"), **pixels},
        long_name="backscatter signal over bare substrate",
        one_chunk_each=len(leading),
    )
    if layers is None:
        return data, None
    return data, create_thickness(entry, THICKNESS, sample, layers, pixels, "true thickness", dtype="f4")


def create_thickness(
    entry: h5py.Group,
    name: str,
    sample: Mapping[str, Axis],
    layers: int,
    pixels: Mapping[str, Axis],
    long_name: str,
    dtype: Any,
) -> h5py.Dataset:
    """Create an NXdata group of maps ([n,] l, y, x) [nm], layers counted from 1 at the bottom."""
    axes = {**sample, "layer": Axis(np.arange(1, layers + 1)), **pixels}
    return create_data(entry, name, dtype, axes, long_name=f"{long_name} [nm]", units="nm", one_chunk_each=len(sample))
