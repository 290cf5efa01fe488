"""Signals of HyperSpy: a scan that reconstructs itself, and the thickness that comes of it.

HyperSpy finds them by the entry point ``hyperspy.extensions`` and ``hyperspy_extension.yaml``, and reads our files with
this module as their format: ``hs.load("scan.h5", file_format=microtomo.programs.hyperspy)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hyperspy.signals import LazySignal2D, Signal2D

from microtomo.errors import MicrotomoError
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.arrays import to_numpy
from microtomo.io.kinds import Kind, kind_of
from microtomo.io.nexus import FORWARD
from microtomo.io.reconstructions import read_reconstruction
from microtomo.io.sources import open_scan
from microtomo.materials import Stack, make_stack
from microtomo.programs.axes import energies_of, energy_axis, find_energy_axis, index_axis, pixel_axes, pixel_of
from microtomo.programs.joining import joined
from microtomo.scan import Reconstruction, Scan, Verdict

NODE = "microtomo"
"""Node of a signal's metadata that holds what the axes do not say."""
_MAPS = ("uncertainty", "volume", "chi_square", "status", "rejected")
_DEFAULT_PIXEL_NM = 10.0  # as that of a Scan
_SAMPLES = 16  # of a lazy signal in memory at a time


class BackscatterScan(Signal2D):  # type: ignore[misc]
    """Backscatter images over bare substrate: navigation axis energy [keV], and sample; signal axes x and y [nm]."""

    _signal_type = "BackscatterScan"

    @classmethod
    def from_scan(cls, scan: Scan) -> BackscatterScan:
        """The signal of a scan (e, y, x) or (n, e, y, x); :meth:`to_scan` gives it back without loss."""
        return BackscatterScan(**scan_table(scan))

    def to_scan(self) -> Scan:
        """The scan of this signal, in memory; its truth too where the images were not cropped.

        Energies and pixel size are those of the axes, in any unit of energy and length. Raises MicrotomoError where no
        navigation axis is of energies, or there are more than energy and sample.
        """
        return _scan_of(self, slice(None))

    def reconstruct(self, method: str = "map", **settings: Any) -> LayerThickness:
        """Thickness of every layer [nm] with its standard deviation; ``settings`` as :func:`microtomo.reconstruct`.

        Many samples are computed a few at a time. Raises MicrotomoError as that does.
        """
        parts = [reconstruct(scan, method, **settings) for scan in _batches(self)]
        return LayerThickness.from_reconstruction(joined(parts))


class LazyBackscatterScan(LazySignal2D, BackscatterScan):  # type: ignore[misc]
    """The same, read from disk when it is asked for."""


class LayerThickness(Signal2D):  # type: ignore[misc]
    """Thickness maps [nm]: navigation axis layer (1 at the bottom), and sample; signal axes x and y [nm]."""

    _signal_type = "LayerThickness"

    @classmethod
    def from_reconstruction(cls, rec: Reconstruction) -> LayerThickness:
        """The signal of a reconstruction; HyperSpy knows its variance. :meth:`to_reconstruction` gives it back."""
        signal = LayerThickness(**thickness_table(rec))
        signal.set_noise_variance(signal._map("uncertainty") ** 2)
        return signal

    @property
    def uncertainty(self) -> Any:
        """One standard deviation [nm] of every value, as a signal on the same axes."""
        return self._map("uncertainty")

    def to_reconstruction(self) -> Reconstruction:
        """The reconstruction, with volume, fit and verdict. Raises MicrotomoError where the maps were cropped."""
        node = self.metadata.get_item(NODE)
        if node is None or not node.has_item("method"):
            raise MicrotomoError("the signal says no method: it is none that reconstruct gave")
        maps: dict[str, Any] = {name: np.asarray(node.get_item(name)) for name in _MAPS if node.has_item(name)}
        thickness = np.asarray(self.data)
        if maps["uncertainty"].shape != thickness.shape:
            raise MicrotomoError("the maps were cropped: reconstruct the cropped scan, s.isig[...].reconstruct()")
        verdicts = tuple(Verdict.of(table) for table in json.loads(node.verdicts))
        return Reconstruction(
            thickness=thickness,
            stack=make_stack(json.loads(node.stack)),
            forward=str(node.get_item(FORWARD)),
            method=str(node.method),
            history=json.loads(node.config),
            verdicts=verdicts,
            **{name: float(node.get_item(name)) for name in ("noise", "voxel_nm", "pixel_nm", "seconds")},
            **maps,
        )

    def _map(self, name: str) -> Any:
        values = np.asarray(self.metadata.get_item(f"{NODE}.{name}"))
        if values.shape != self.data.shape:
            raise MicrotomoError("the maps were cropped: take their uncertainty first, and crop it alike")
        signal = Signal2D(values, axes=[axis.copy().get_axis_dictionary() for axis in _in_order(self)])
        signal.metadata.General.title = f"{name} of {self.metadata.General.title}"
        return signal


class LazyLayerThickness(LazySignal2D, LayerThickness):  # type: ignore[misc]
    """The same, read from disk when it is asked for."""


def file_reader(filename: str | Path, lazy: bool = False, **_: Any) -> list[dict[str, Any]]:
    """What ``hs.load`` asks of a format: the scan or the reconstruction in a file, as a table of a signal.

    Accepted is what :func:`microtomo.read_scan` accepts; ``lazy`` reads the images of a scan when they are asked for.
    Raises MicrotomoError, with the file name, for anything else.
    """
    path = Path(filename)
    if kind_of(path) is Kind.RECONSTRUCTION:
        signal = LayerThickness.from_reconstruction(read_reconstruction(path))
        return [{**signal._to_dictionary(add_learning_results=False), "attributes": {"_lazy": False}}]
    with open_scan(path) as source:
        if not lazy:
            return [_titled(scan_table(source.read()), path)]
        truth = None if source.truth is None else _lazy(source.truth)
        scan = Scan(
            _lazy(source.data), source.energies_kev, source.pixel_nm, source.stack, source.forward, source.noise, truth,
            source.history,
        )  # fmt: skip
        return [_titled(scan_table(scan), path)]


def _lazy(stored: Any) -> Any:
    """An array of dask that reads an image at a time."""
    from dask.array import from_array

    chunks = (1,) * (stored.ndim - 2) + tuple(stored.shape[-2:])
    return from_array(stored, chunks=chunks, meta=np.empty((0,) * stored.ndim, stored.dtype))


def _array(values: Any) -> Any:
    """An array of dask as it is, anything else as NumPy."""
    return values if type(values).__module__.startswith("dask.") else to_numpy(values)


def scan_table(scan: Scan) -> dict[str, Any]:
    """A scan in the words of HyperSpy's dictionaries: data, axes, metadata. Data of dask stays lazy."""
    truth = None if scan.truth is None else _array(scan.truth)
    node = {"stack": _json(scan.stack), FORWARD: scan.forward, "noise": scan.noise, "truth": truth}
    axes = [energy_axis(scan.energies_kev), *pixel_axes(scan.shape[-2], scan.shape[-1], scan.pixel_nm)]
    if scan.ndim == 4:
        axes.insert(0, index_axis("sample", scan.shape[0]))
    node["config"] = _json(scan.history)
    return _table(_array(scan.data), axes, "BackscatterScan", "signal over bare substrate", node)


def thickness_table(rec: Reconstruction) -> dict[str, Any]:
    """A reconstruction in the words of HyperSpy's dictionaries."""
    data = to_numpy(rec.thickness)
    axes = [index_axis("layer", data.shape[-3], 1), *pixel_axes(data.shape[-2], data.shape[-1], rec.pixel_nm)]
    if data.ndim == 4:
        axes.insert(0, index_axis("sample", len(data)))
    maps = {name: None if (m := getattr(rec, name)) is None else to_numpy(m) for name in _MAPS}
    node = {
        **maps, "method": rec.method, "stack": _json(rec.stack), FORWARD: rec.forward, "noise": rec.noise,
        "voxel_nm": rec.voxel_nm, "pixel_nm": rec.pixel_nm, "seconds": rec.seconds, "config": _json(rec.history),
        "verdicts": json.dumps([v.as_dict() for v in rec.verdicts]),
    }  # fmt: skip
    table = _table(data, axes, "LayerThickness", "thickness (nm)", node)
    table["metadata"]["General"]["title"] = f"thickness of {', '.join(rec.stack.symbols)}"
    return table


def _table(data: Any, axes: list[dict[str, Any]], kind: str, quantity: str, node: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in node.items() if value is not None}
    metadata = {"General": {"title": quantity}, "Signal": {"signal_type": kind, "quantity": quantity}, NODE: known}
    return {"data": data, "axes": axes, "metadata": metadata, "original_metadata": {}}


def _titled(table: dict[str, Any], path: Path) -> dict[str, Any]:
    table["metadata"]["General"] |= {"title": path.stem, "original_filename": path.name}
    return table


def _json(value: Any) -> str | None:
    if value is None:
        return None
    return value.model_dump_json() if isinstance(value, Stack) else json.dumps(value, default=str)


def _in_order(signal: Any) -> list[Any]:
    """Axes of a signal in the order of its array."""
    axes = [*signal.axes_manager.navigation_axes, *signal.axes_manager.signal_axes]
    return sorted(axes, key=lambda axis: axis.index_in_array)


def _said(signal: Any, name: str) -> Any:
    """What the metadata say, else what HyperSpy's own reader of NeXus left of the file's attributes."""
    value = signal.metadata.get_item(f"{NODE}.{name}")
    return signal.original_metadata.get_item(f"attrs.{name}") if value is None else value


def _scan_of(signal: Any, samples: slice) -> Scan:
    """The scan of a part of a signal's samples."""
    others = list(signal.axes_manager.navigation_axes)
    energy = find_energy_axis(others)
    others = [axis for axis in others if axis is not energy]
    if len(others) > 1:
        names = ", ".join(str(axis.name) for axis in others)
        raise MicrotomoError(f"a scan has energies and samples, this signal also {names}: choose with s.inav")
    x, y = signal.axes_manager.signal_axes
    order = [axis.index_in_array for axis in (*others, energy, y, x)]
    data = signal.data.transpose(order)
    data = np.asarray(data[samples] if others else data)
    stack, forward, noise = _said(signal, "stack"), _said(signal, FORWARD), _said(signal, "noise")
    return Scan(
        data,
        energies_of(energy),
        pixel_of((y, x), _DEFAULT_PIXEL_NM),
        None if stack is None else make_stack(json.loads(str(stack))),
        None if forward is None else str(forward),
        None if noise is None else float(noise),
        _truth_of(signal, (*(axis.size for axis in others), y.size, x.size), samples),
        json.loads(str(_said(signal, "config") or "{}")),
    )


def _truth_of(signal: Any, whole: tuple[int, ...], samples: slice) -> np.ndarray | None:
    """The true thickness of a part of the samples; None where it is not known, or no longer fits the images."""
    truth = signal.metadata.get_item(f"{NODE}.truth")
    if truth is None or (*truth.shape[:-3], *truth.shape[-2:]) != whole:
        return None
    return np.asarray(truth[samples] if truth.ndim == 4 else truth)


def _batches(signal: Any) -> Iterator[Scan]:
    """The scan of a signal; of a lazy one a few samples at a time."""
    axes = signal.axes_manager.navigation_axes
    energy = find_energy_axis(axes)
    if not signal._lazy or len(axes) != 2:
        yield _scan_of(signal, slice(None))
        return
    count = next(axis.size for axis in axes if axis is not energy)
    for first in range(0, count, _SAMPLES):
        yield _scan_of(signal, slice(first, first + _SAMPLES))
