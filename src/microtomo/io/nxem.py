"""NXem files: a scan and what came of it, as the NeXus definition of electron microscopy (v2026.01) wants them.

Written are all fields that ``applications/NXem.nxdl.xml`` requires, and those recommended ones that are known. A
measured scan has an event an energy, a simulated one a simulation; a reconstruction is a region of interest with maps.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import to_numpy
from microtomo.io.atomic import writing
from microtomo.io.new_hdf5 import new_hdf5
from microtomo.materials import Stack
from microtomo.scan import Reconstruction, Scan
from microtomo.study import Study

DEFINITION_VERSION = "v2026.01"
_UNKNOWN = "unknown"


class Details(BaseModel):
    """What NXem asks of a measurement and no scan says; what may stay ``unknown`` does so until it is given.

    Times have an offset to UTC, such as 2026-11-21T09:30:00+01:00.
    """

    model_config = ConfigDict(extra="forbid")

    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    preparation_date: AwareDatetime | date | None = None
    sample_name: str | None = None
    vendor: str = _UNKNOWN
    model: str = _UNKNOWN
    serial_number: str | None = None
    detector: str = "backscattered electron detector"
    detector_mode: str = _UNKNOWN
    emitter_type: str | None = None
    scan_schema: str | None = None
    dwell_time_us: float | None = Field(None, gt=0)


def write_nxem(
    path: str | Path,
    study: Study,
    details: Details | None = None,
    written: datetime | None = None,
    inputs: tuple[Path, ...] = (),
) -> None:
    """Write a sample's scan, reconstruction and truth, what there is of them, as an NXem file.

    ``written`` is when a simulated scan was computed, the present where it is not given. Raises MicrotomoError where a
    measurement's start and the date of its preparation are missing, and where the file cannot be written.
    """
    details = details or Details()
    simulated = is_simulated(study)
    if not simulated and (details.start_time is None or details.preparation_date is None):
        raise MicrotomoError(
            "NXem wants to know when a sample was prepared and measured: give a TOML file with start_time and "
            "preparation_date by --details"
        )
    start = details.start_time or (written or datetime.now(UTC)).astimezone(UTC)
    size = 0 if study.scan is None else to_numpy(study.scan.data).nbytes
    with new_hdf5(path, inputs, needs_bytes=size) as (file, _), writing(path):
        file.attrs.update({"NX_class": "NXroot", "default": "entry"})
        entry = _group(file, "entry", "NXentry", definition="NXem", start_time=start.isoformat(timespec="seconds"))
        entry["definition"].attrs["version"] = DEFINITION_VERSION
        if details.end_time is not None:
            entry["end_time"] = details.end_time.isoformat(timespec="seconds")
        prepared = details.preparation_date or start
        _sample(entry, study.stack, simulated, prepared, details.sample_name or study.name)
        if study.scan is not None and simulated:
            _simulation(entry, study.scan)
        elif study.scan is not None:
            _measurement(entry, study.scan, details)
        if study.rec is not None:
            _results(entry, study.rec)


def is_simulated(study: Study) -> bool:
    """Whether the scan was computed: its truth is known, or its history has the seed."""
    told = {key for part in (study.scan, study.rec) if part is not None for key in part.history}
    return "import" not in told and (study.truth is not None or "seed" in told)


def _sample(entry: h5py.Group, stack: Stack, simulated: bool, prepared: datetime | date, name: str) -> None:
    if not isinstance(prepared, datetime):
        prepared = datetime.combine(prepared, time(), UTC)
    layers = ", ".join(f"{layer.material.symbol} up to {layer.max_nm:g} nm" for layer in stack.layers)
    _group(
        entry,
        "sample1",
        "NXsample",
        is_simulation=simulated,
        physical_form="thin_film",
        preparation_date=prepared.isoformat(timespec="seconds"),
        name=name,
        atom_types=", ".join(atom_types(stack)),
        description=f"{stack.name}: {layers}, on {stack.substrate.symbol}",
    )


def atom_types(stack: Stack) -> list[str]:
    """Symbols of all elements in substrate and layers, in alphabetical order."""
    materials = (stack.substrate, *(layer.material for layer in stack.layers))
    return sorted({symbol for material in materials for symbol in material.atoms})


def _program(parent: h5py.Group, name: str) -> None:
    group = _group(parent, name, "NXprogram", program="microtomo")
    group["program"].attrs["version"] = version("microtomo")


def _simulation(entry: h5py.Group, scan: Scan) -> None:
    entry.attrs["default"] = "simulation"
    simulation = _group(entry, "simulation", "NXem_simulation")
    simulation.attrs["default"] = "results"
    _program(simulation, "program1")
    _program(_group(simulation, "environment", "NXcollection"), "program1")
    config = _group(simulation, "config", "NXparameters", forward_model=scan.forward or _UNKNOWN)
    _field(config, "beam_energy", np.asarray(scan.energies_kev), units="keV")
    if "seed" in scan.history:
        config["seed"] = int(scan.history["seed"])
    if scan.noise is not None:
        _field(config, "relative_noise", scan.noise, units="")
    results = _group(simulation, "results", "NXprocess")
    results.attrs["default"] = "image1"
    image = _group(results, "image1", "NXimage")
    energy = ("energy", np.asarray(scan.energies_kev), "keV", "beam energy")
    _stack(image, to_numpy(scan.data), energy, scan.pixel_nm, "backscatter signal over bare substrate", "")


def _measurement(entry: h5py.Group, scan: Scan, details: Details) -> None:
    entry.attrs["default"] = "measurement"
    measurement = _group(entry, "measurement", "NXem_measurement")
    measurement.attrs["default"] = "event1"
    instrument = _group(measurement, "instrument", "NXem_instrument", type="SEM")
    maker = _group(instrument, "fabrication", "NXfabrication", vendor=details.vendor, model=details.model)
    if details.serial_number is not None:
        maker["serial_number"] = details.serial_number
    column = _group(instrument, "ebeam_column", "NXebeam_column")
    if details.emitter_type is not None:
        _group(column, "electron_source", "NXsource", emitter_type=details.emitter_type, probe="electron")
    _group(instrument, "detector1", "NXdetector", name=details.detector)
    for number, (kev, image) in enumerate(zip(scan.energies_kev, to_numpy(scan.data), strict=True), 1):
        event = _group(measurement, f"event{number}", "NXem_event_data", identifier_sample="sample1")
        event.attrs["default"] = "image1"
        if details.start_time is not None and len(scan.energies_kev) == 1:
            event["start_time"] = details.start_time.isoformat(timespec="seconds")
        picture = _group(event, "image1", "NXimage")
        _group(picture, "process", "NXprocess", detector_identifier="detector1")
        energy = ("energy", np.array([float(kev)]), "keV", "beam energy")
        _stack(
            picture, image[None], energy, scan.pixel_nm, f"backscatter signal at {kev:g} keV over bare substrate", ""
        )
        _event_instrument(event, kev, details)


def _event_instrument(event: h5py.Group, kev: float, details: Details) -> None:
    instrument = _group(event, "instrument", "NXem_instrument")
    column = _group(instrument, "ebeam_column", "NXebeam_column")
    _field(_group(column, "electron_source", "NXsource"), "voltage", kev * 1e3, units="V")
    if details.scan_schema is not None and details.dwell_time_us is not None:
        controller = _group(column, "scan_controller", "NXscan_controller", scan_schema=details.scan_schema)
        _field(controller, "dwell_time", details.dwell_time_us * 1e-6, units="s")
    _group(instrument, "detector1", "NXdetector", operation_mode=details.detector_mode)


def _results(entry: h5py.Group, rec: Reconstruction) -> None:
    """Thickness and its standard deviation, an image a layer."""
    roi = _group(entry, "roi1", "NXroi_process")
    roi.attrs["default"] = "img"
    img = _group(roi, "img", "NXem_img")
    img.attrs["default"] = "image1"
    layers = ("indices_image", np.arange(1, len(rec.stack.layers) + 1), "", "layer, 1 at the bottom")
    maps = {"thickness": rec.thickness, "standard deviation of thickness": rec.uncertainty}
    for number, (name, values) in enumerate(maps.items(), 1):
        image = _group(img, f"image{number}", "NXimage", imaging_mode="backscattered_electron")
        title = f"{name} of {', '.join(rec.stack.symbols)} by {rec.method}"
        _group(image, "process", "NXprocess", program="microtomo", version=version("microtomo"))
        _stack(image, to_numpy(values), layers, rec.pixel_nm, title, "nm")
    if "default" not in entry.attrs:
        entry.attrs["default"] = "roi1"


def _stack(
    image: h5py.Group,
    values: np.ndarray,
    first: tuple[str, np.ndarray, str, str],
    pixel_nm: float,
    title: str,
    units: str,
) -> None:
    """An NXdata group of images (i, y, x); ``first`` is the first axis: name, values, unit and what it counts."""
    name, numbers, unit, counts = first
    image.attrs["default"] = "stack_2d"
    group = _group(image, "stack_2d", "NXdata", title=title)
    group.attrs.update({"signal": "real", "axes": [name, "axis_j", "axis_i"]})
    chunks = (1, *(min(side, 1024) for side in values.shape[-2:]))
    real = group.create_dataset("real", data=values, chunks=chunks, fletcher32=True)
    real.attrs.update(
        {"long_name": f"{title} [{units}]" if units else title, "units": units, "interpretation": "image"}
    )
    axes = {"indices_image": (np.arange(1, len(values) + 1), "", "number of the image"), name: (numbers, unit, counts)}
    for key, (points, per, words) in axes.items():
        _axis(group, key, 0, points, per, words)
    for place, (key, words) in enumerate((("axis_j", "y"), ("axis_i", "x")), 1):
        _axis(group, key, place, np.arange(values.shape[place]) * pixel_nm, "nm", words)


def _axis(group: h5py.Group, name: str, place: int, values: np.ndarray, units: str, words: str) -> None:
    group.attrs[f"{name}_indices"] = np.uint32(place)
    _field(group, name, values, units=units, long_name=f"{words} [{units}]" if units else words)


def _field(group: h5py.Group, name: str, value: Any, **attributes: str) -> None:
    group[name] = value
    group[name].attrs.update({key: text for key, text in attributes.items() if text})


def _group(parent: h5py.Group, name: str, nx_class: str, /, **values: Any) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    for key, value in values.items():
        group[key] = value
    return group
