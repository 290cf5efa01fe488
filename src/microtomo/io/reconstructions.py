"""Reconstructions on disk: written batch by batch, read whole or in parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import numbers, to_numpy
from microtomo.io.atomic import check_output, writing
from microtomo.io.hdf5 import reading
from microtomo.io.new_hdf5 import new_hdf5
from microtomo.io.nexus import (
    ENTRY,
    FIT,
    FORWARD,
    REJECTED,
    SIGNAL,
    STATUS,
    THICKNESS,
    TRUTH,
    UNCERTAINTY,
    VERDICT,
    VOLUME,
    Axis,
    Entry,
    address,
    create_data,
    create_thickness,
    open_nexus,
    pixel_axes,
    write_entry,
)  # fmt: skip
from microtomo.io.stored import load
from microtomo.scan import Array, Reconstruction, Status, Verdict

_MISSING = "is this a file that microtomo reconstruct wrote?"
_STORED = {
    "thickness": (THICKNESS, SIGNAL), "uncertainty": (UNCERTAINTY, SIGNAL), "volume": (VOLUME, SIGNAL),
    "chi_square": (FIT, SIGNAL), "status": (FIT, STATUS),
}  # fmt: skip


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
                "chi_square": rec.chi_square, "status": rec.status, "rejected": rec.rejected, "truth": truth,
            }  # fmt: skip
            for name, data in self._data.items():
                data[where] = to_numpy(values[name])
            if rec.verdicts:
                first = 0 if self._samples is None else self._done
                lines = [json.dumps(v.as_dict()) for v in rec.verdicts]
                self._file[address(VERDICT)][first : first + len(lines)] = lines
            self._done += count
            self._seconds += rec.seconds
            self._noise += rec.noise * count
            entry = self._file[ENTRY]
            entry.attrs["noise"] = self._noise / self._done
            if self._seconds:
                entry.attrs["seconds"] = self._seconds
        self._check()

    def finish(self) -> None:
        """Raise MicrotomoError unless every sample was written."""
        wanted = 1 if self._samples is None else len(self._samples)
        if self._done != wanted:
            raise MicrotomoError(f"{self._path}: {self._done} of {wanted} samples were reconstructed: file not written")

    def _create(self, rec: Reconstruction, truth: Array | None) -> None:
        attributes = {
            "method": rec.method, "stack": rec.stack, FORWARD: rec.forward, "voxel_nm": rec.voxel_nm,
            "pixel_nm": rec.pixel_nm, "config": rec.history, **self._attributes,
        }  # fmt: skip
        entry = write_entry(self._file, THICKNESS, attributes)
        layers, height, width = rec.thickness.shape[-3:]
        images = (2 * layers + 1) * (1 if self._samples is None else len(self._samples))
        check_output(self._path, needs_bytes=images * height * width * np.dtype(np.float32).itemsize)
        sample = {} if self._samples is None else {"sample": Axis(np.asarray(self._samples))}
        pixels = pixel_axes(height, width, rec.pixel_nm)
        dtype = to_numpy(rec.thickness).dtype
        maps = {
            THICKNESS: "thickness",
            UNCERTAINTY: "standard deviation",
            **({} if truth is None else {TRUTH: "truth"}),
        }
        for name, long_name in maps.items():
            self._data[name] = create_thickness(entry, name, sample, layers, pixels, long_name, dtype)
            entry[name].attrs["symbols"] = list(rec.stack.symbols)
        depth = {"z": Axis((np.arange(rec.volume.shape[-3]) + 0.5) * rec.voxel_nm, "nm")}
        self._data["volume"] = create_data(
            entry,
            VOLUME,
            "u1",
            {**sample, **depth, **pixels},
            long_name="material label (0 empty, k = layer k)",
            one_chunk_each=len(sample),
            compressed=True,
        )
        entry[VOLUME].attrs["labels"] = ["empty", *rec.stack.symbols]
        fitted = _create_fit(entry, {**sample, **pixels}, len(sample), rec.rejected is not None)
        self._data |= dict(zip(("chi_square", "status", "rejected"), fitted, strict=False))
        if rec.verdicts:
            group = entry.create_group(VERDICT)
            group.attrs["NX_class"] = "NXcollection"
            count = 1 if self._samples is None else len(self._samples)
            group.create_dataset(SIGNAL, shape=(count,), dtype=h5py.string_dtype())


def _create_fit(entry: h5py.Group, axes: dict[str, Axis], leading: int, counted: bool) -> list[h5py.Dataset]:
    """Chi-square and status of each pixel, and where ``counted`` how many values were rejected, as one group."""
    long_name = "chi-square per energy"
    chi_square = create_data(entry, FIT, "f4", axes, long_name=long_name, one_chunk_each=leading)
    status = entry[FIT].create_dataset(STATUS, shape=chi_square.shape, dtype="u1", chunks=chi_square.chunks)
    status.attrs.update({"interpretation": "image", "long_name": "status", "codes": [int(s) for s in Status]})
    status.attrs["names"] = [s.name.lower() for s in Status]
    status.attrs["meanings"] = [s.message for s in Status]
    data, others = [chi_square, status], [STATUS]
    if counted:
        data.append(entry[FIT].create_dataset(REJECTED, shape=chi_square.shape, dtype="u1", chunks=chi_square.chunks))
        data[-1].attrs.update({"interpretation": "image", "long_name": "energies at which the pixel was hot or dead"})
        others.append(REJECTED)
    entry[FIT].attrs["auxiliary_signals"] = others
    return data


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
    with open_nexus(path) as (file, entry), reading(path):
        missing = [address(*place) for place in _STORED.values() if entry is None or entry.data(*place) is None]
        if entry is None or missing:
            raise MicrotomoError(f"{path}: lacks the data set {', '.join(missing)}: {_MISSING}")
        stack, method = entry.stack, entry.text("method")
        if stack is None or method is None:
            raise MicrotomoError(f"{path}: /{ENTRY} names no stack or method: {_MISSING}")
        thickness = file[address(THICKNESS)]
        part = (samples or slice(None)) if thickness.ndim == 4 else ...
        history = entry.history | {
            key: value for key in ("input", "input_sha256") if (value := entry.text(key)) is not None
        }
        numbered = entry.data(THICKNESS, "sample")
        if thickness.ndim == 4 and numbered is not None:
            history["samples"] = [int(i) for i in numbers(load(path, numbered, part))]

        def number(name: str, default: float) -> float:
            value = entry.number(name)
            return default if value is None else value

        return Reconstruction(
            **{name: load(path, file[address(*place)], part) for name, place in _STORED.items()},
            method=method,
            stack=stack,
            forward=entry.text(FORWARD) or "material",
            noise=number("noise", float("nan")),
            voxel_nm=number("voxel_nm", 10.0),
            pixel_nm=number("pixel_nm", 10.0),
            seconds=number("seconds", 0.0),
            history=history,
            rejected=None if (rejected := entry.data(FIT, REJECTED)) is None else rejected[part],
            verdicts=_read_verdicts(entry, part),
        )


def _read_verdicts(entry: Entry, part: Any) -> tuple[Verdict, ...]:
    """The verdicts on the samples of ``part``; none where an older version wrote the file."""
    stored = entry.data(VERDICT)
    if stored is None:
        return ()
    return tuple(Verdict.of(json.loads(line)) for line in np.atleast_1d(stored.asstr()[part]))
