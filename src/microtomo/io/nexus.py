"""The NeXus layout that scan and reconstruction files are written in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import h5py
import numpy as np

from microtomo.materials import Stack

_CHUNK_PIXELS = 1024  # along y and x: HDF5 allows 4 GiB a chunk


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
    file.attrs.update({"NX_class": "NXroot", "default": "entry"})
    entry = file.create_group("entry")
    entry.attrs.update({"NX_class": "NXentry", "default": default, "microtomo_version": version("microtomo")})
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, Stack):
            value = value.model_dump_json()
        elif isinstance(value, Mapping):
            value = json.dumps(value, default=str)
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

    ``one_chunk_each``: that many leading axes are chunked by one, the others whole; 0 stores the array in one piece.
    """
    group = entry.create_group(name)
    group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": list(axes), "interpretation": "image"})
    shape = tuple(len(axis.values) for axis in axes.values())
    chunks = None
    if one_chunk_each or compressed:
        chunks = (
            (1,) * one_chunk_each + shape[one_chunk_each:-2] + tuple(min(size, _CHUNK_PIXELS) for size in shape[-2:])
        )
    options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}
    data = group.create_dataset("data", shape=shape, dtype=dtype, chunks=chunks, **options)
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
    entry = write_entry(file, "data", attributes)
    data = create_data(
        entry,
        "data",
        dtype,
        {**sample, "energy": Axis(np.asarray(energies_kev, float), "keV"), **pixels},
        long_name="backscatter signal over bare substrate",
        one_chunk_each=len(leading),
    )
    if layers is None:
        return data, None
    return data, create_thickness(entry, "thickness", sample, layers, pixels, "true thickness", dtype="f4")


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
