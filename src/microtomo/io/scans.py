"""Scans and reconstructions on disk: NeXus/HDF5 out, and in from HDF5, NumPy files, TIFF stacks and data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import numbers, read_npy, read_npz
from microtomo.io.atomic import check_output, new_hdf5, writing
from microtomo.io.hdf5 import history_of, number_of, open_hdf5, reading, shards, stack_of, text
from microtomo.io.nexus import Axis, create_data, create_scan, create_thickness, pixel_axes, write_entry
from microtomo.io.sources import open_scan
from microtomo.materials import Stack
from microtomo.scan import Array, Reconstruction, Scan, Status

_MISSING = "is this a file that microtomo reconstruct wrote?"


def write_scan(path: str | Path, scan: Scan) -> None:
    """Write a scan, with its stack, forward model, noise level and true thickness where known, as a NeXus file.

    Raises MicrotomoError when the file cannot be written; nothing stands under ``path`` then that was not there before.
    """
    data = _numpy(scan.data)
    truth = None if scan.truth is None else _numpy(scan.truth)
    attributes = {
        "stack": scan.stack, "contrast": scan.forward, "noise": scan.noise, "pixel_nm": scan.pixel_nm,
        "config": scan.history,
    }  # fmt: skip
    with new_hdf5(path, needs_bytes=data.nbytes) as (file, _), writing(path):
        signal, thickness = create_scan(
            file,
            data.shape,
            data.dtype,
            energies_kev=scan.energies_kev,
            pixel_nm=scan.pixel_nm,
            attributes=attributes,
            layers=None if truth is None else truth.shape[-3],
        )
        signal[...] = data
        if thickness is not None:
            thickness[...] = truth


def read_scan(
    path: str | Path,
    energies_kev: tuple[float, ...] | None = None,
    pixel_nm: float | None = None,
    stack: Stack | str | Path | None = None,
    forward: str | None = None,
    samples: slice | None = None,
) -> Scan:
    """Read a scan of any accepted kind; what is given here goes before what the file says.

    Accepted are NeXus and plain HDF5 files, the folder (or ``index.h5``) of a data set, ``.npy`` and ``.npz`` arrays,
    a multi-page TIFF and a folder of TIFF images. Arrays and images without energies get those of the stack
    (``au-al-si`` when none is given) if their number fits. ``samples`` takes a part of a file with many scans.
    Values are as in the file, NaN included: :func:`microtomo.reconstruct` is what checks them.

    Raises MicrotomoError, with the file name, for anything that cannot be read as a scan.
    """
    with open_scan(path, energies_kev, pixel_nm, stack, forward) as source:
        return source.read(samples)


def iter_scans(path: str | Path, batch: int = 16, **given: Any) -> Iterator[Scan]:
    """The scans of a file with a sample axis, ``batch`` at a time; one scan without that axis as it is.

    Memory stays at one batch. ``given`` is as for :func:`read_scan`.
    """
    with open_scan(path, **given) as source:
        yield from (source.read(part) for part in source.batches(batch))


class Truth(NamedTuple):
    """What is known to be true: thickness ([n,] l, y, x) [nm] and, where stored, the volume ([n,] z, y, x)."""

    thickness: np.ndarray
    volume: np.ndarray | None


def read_truth(path: str | Path, samples: slice | None = None) -> Truth:
    """True thickness, and volume if there is one, from a scan file, a data set, a reconstruction file or an array.

    A reconstruction file that carries a truth gives that one, else its own thickness and volume.
    Raises MicrotomoError where there is no thickness.
    """
    path = Path(path)
    part = samples or slice(None)
    if path.suffix == ".npy":
        return Truth(np.asarray(read_npy(path).data), None)
    if path.suffix == ".npz":
        return Truth(read_npz(path, ("thickness", "thickness_nm", "truth")).data, None)
    with open_hdf5(path) as file, reading(path):
        for group in ("entry/truth", "entry/thickness"):
            if f"{group}/data" in file:
                thickness = file[f"{group}/data"]
                shards(thickness)
                volume = file.get("entry/volume/data") if group == "entry/thickness" else None
                where = part if thickness.ndim == 4 else ...
                return Truth(thickness[where], None if volume is None else volume[where])
    raise MicrotomoError(f"{path}: lacks the data set /entry/thickness/data, a true thickness: was the scan simulated?")


class ReconstructionWriter:
    """Fills a reconstruction file batch by batch; :func:`new_reconstruction` gives one."""

    def __init__(
        self, path: Path, file: h5py.File, check: Callable[[], None], samples: range | None, attributes: dict[str, Any]
    ) -> None:
        self._path = path
        self._file = file
        self._check = check
        self._samples = samples
        self._attributes = attributes
        self._data: dict[str, h5py.Dataset] = {}
        self._done = 0
        self._seconds = 0.0
        self._noise = 0.0

    def add(self, rec: Reconstruction, truth: Array | None = None) -> None:
        """Write the next samples, or the one scan."""
        with writing(self._path):
            if not self._data:
                self._create(rec, truth)
            count = 1 if self._samples is None else len(rec.thickness)
            where = ... if self._samples is None else slice(self._done, self._done + count)
            values = {
                "thickness": rec.thickness, "uncertainty": rec.uncertainty, "volume": rec.volume,
                "chi_square": rec.chi_square, "status": rec.status, "truth": truth,
            }  # fmt: skip
            for name, data in self._data.items():
                data[where] = _numpy(values[name])
            self._done += count
            self._seconds += rec.seconds
            self._noise += rec.noise * count
            entry = self._file["entry"]
            entry.attrs["seconds"], entry.attrs["noise"] = self._seconds, self._noise / self._done
        self._check()

    def finish(self) -> None:
        """Raise MicrotomoError unless every sample was written."""
        wanted = 1 if self._samples is None else len(self._samples)
        if self._done != wanted:
            raise MicrotomoError(f"{self._path}: {self._done} of {wanted} samples were reconstructed: file not written")

    def _create(self, rec: Reconstruction, truth: Array | None) -> None:
        attributes = {
            "method": rec.method, "stack": rec.stack, "contrast": rec.forward, "voxel_nm": rec.voxel_nm,
            "pixel_nm": rec.pixel_nm, "config": rec.history, **self._attributes,
        }  # fmt: skip
        entry = write_entry(self._file, "thickness", attributes)
        layers, height, width = rec.thickness.shape[-3:]
        images = (2 * layers + 1) * (1 if self._samples is None else len(self._samples))
        check_output(self._path, needs_bytes=images * height * width * 4)
        sample = {} if self._samples is None else {"sample": Axis(np.asarray(self._samples))}
        pixels = pixel_axes(height, width, rec.pixel_nm)
        dtype = _numpy(rec.thickness).dtype
        for name, long_name in (("thickness", "thickness"), ("uncertainty", "standard deviation"), ("truth", "truth")):
            if name != "truth" or truth is not None:
                self._data[name] = create_thickness(entry, name, sample, layers, pixels, long_name, dtype)
                entry[name].attrs["symbols"] = list(rec.stack.symbols)
        depth = {"z": Axis((np.arange(rec.volume.shape[-3]) + 0.5) * rec.voxel_nm, "nm")}
        self._data["volume"] = create_data(
            entry,
            "volume",
            "u1",
            {**sample, **depth, **pixels},
            long_name="material label (0 empty, k = layer k)",
            one_chunk_each=len(sample),
            compressed=True,
        )
        entry["volume"].attrs["labels"] = ["empty", *rec.stack.symbols]
        self._data["chi_square"] = create_data(
            entry,
            "fit",
            "f4",
            {**sample, **pixels},
            long_name="chi-square per energy",
            one_chunk_each=len(sample),
        )
        fit, shape = entry["fit"], self._data["chi_square"].shape
        chunks = self._data["chi_square"].chunks
        status = fit.create_dataset("status", shape=shape, dtype="u1", chunks=chunks)
        status.attrs.update({"interpretation": "image", "long_name": "status", "codes": [int(s) for s in Status]})
        status.attrs["names"] = [s.name.lower() for s in Status]
        status.attrs["meanings"] = [s.message for s in Status]
        fit.attrs["auxiliary_signals"] = ["status"]
        self._data["status"] = status


@contextmanager
def new_reconstruction(
    path: str | Path, samples: range | None = None, inputs: Iterable[Path] = (), **attributes: Any
) -> Iterator[ReconstructionWriter]:
    """A writer for the reconstruction of one scan (``samples`` None) or of the numbered samples, batch by batch.

    The file stands under its name once the block has ended and every sample is written; after an error or an interrupt
    nothing does. ``attributes`` go to /entry. Raises MicrotomoError when the file cannot be written or is an input.
    """
    with new_hdf5(path, inputs) as (file, check):
        writer = ReconstructionWriter(Path(path), file, check, samples, attributes)
        yield writer
        writer.finish()


def write_reconstruction(path: str | Path, rec: Reconstruction, truth: Array | None = None) -> None:
    """Write a reconstruction, and the true thickness where known, as a NeXus file.

    Raises MicrotomoError when the file cannot be written; nothing stands under ``path`` then that was not there before.
    """
    samples = range(len(rec.thickness)) if rec.thickness.ndim == 4 else None
    with new_reconstruction(path, samples) as writer:
        writer.add(rec, truth)


def read_reconstruction(path: str | Path, samples: slice | None = None) -> Reconstruction:
    """Read a reconstruction file; ``samples`` takes a part of one with many samples.

    Raises MicrotomoError, with the file name, for anything that is none.
    """
    path = Path(path)
    with open_hdf5(path) as file, reading(path):
        names = {
            "thickness": "thickness/data", "uncertainty": "uncertainty/data", "volume": "volume/data",
            "chi_square": "fit/data", "status": "fit/status",
        }  # fmt: skip
        missing = [f"/entry/{n}" for n in names.values() if f"entry/{n}" not in file]
        if missing:
            raise MicrotomoError(f"{path}: lacks the data set {', '.join(missing)}: {_MISSING}")
        entry = file["entry"]
        stack = stack_of(entry, path)
        if stack is None or "method" not in entry.attrs:
            raise MicrotomoError(f"{path}: /entry names no stack or method: {_MISSING}")
        many = entry["thickness/data"].ndim == 4
        part = (samples or slice(None)) if many else ...
        arrays = {key: entry[name][part] for key, name in names.items()}
        history = history_of(entry) | {
            key: text(entry.attrs[key]) for key in ("input", "input_sha256") if key in entry.attrs
        }
        if many and "sample" in entry["thickness"]:
            history["samples"] = [int(i) for i in numbers(entry["thickness/sample"][part])]

        def number(name: str, default: float) -> float:
            value = number_of(entry, name, path)
            return default if value is None else value

        return Reconstruction(
            **arrays,
            method=text(entry.attrs["method"]),
            stack=stack,
            forward=text(entry.attrs.get("contrast", "material")),
            noise=number("noise", float("nan")),
            voxel_nm=number("voxel_nm", 10.0),
            pixel_nm=number("pixel_nm", 10.0),
            seconds=number("seconds", 0.0),
            history=history,
        )


def _numpy(array: Array) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
