"""A plugin of napari: scans and reconstructions as layers with their scale in nm, and a widget that reconstructs.

napari finds it by the entry point ``napari.manifest`` and ``napari.yaml``. Nothing of napari is imported here: layers
are tuples (data, settings, type). What a layer is of stands in its metadata under ``microtomo``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.inverse.reconstruct import reconstruct
from microtomo.io.arrays import to_numpy
from microtomo.io.kinds import Kind, kind_of
from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
from microtomo.io.scans import read_scan, write_scan
from microtomo.io.sources import open_scan
from microtomo.materials import load_stack, make_stack
from microtomo.programs.axes import energy_axis
from microtomo.registry import list_methods
from microtomo.scan import Reconstruction, Scan, Status, Verdict
from microtomo.simulate.scans import simulate_scan
from microtomo.simulate.structures import make_structure

if TYPE_CHECKING:
    import napari.layers
    import napari.qt.threading
    import napari.types

LayerTuple: TypeAlias = tuple[Any, dict[str, Any], str]
"""Data, settings and type of a layer."""

NODE = "microtomo"
"""Key in a layer's metadata of what it is."""
_SAMPLE_SIDE = 128  # pixels of the sample data: reconstructed in a second or two
_CONTRAST = (0.5, 99.5)  # percentiles of the values between black and white: single hot pixels are beyond


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """The function that reads a path, None where it holds neither a scan nor a reconstruction."""
    try:
        for one in [path] if isinstance(path, str) else path:
            if kind_of(one) is Kind.RECONSTRUCTION:
                continue
            if kind_of(one) not in (Kind.SCAN, Kind.DATA_SET):
                return None
            with open_scan(one):
                pass
    except MicrotomoError:
        return None
    return read_layers


def read_layers(path: str | Sequence[str]) -> list[LayerTuple]:
    """Layers of a file, or of several. Raises MicrotomoError, with the file name, for what cannot be read."""
    layers: list[LayerTuple] = []
    for one in [path] if isinstance(path, str) else path:
        name = Path(one).stem
        if kind_of(one) is Kind.RECONSTRUCTION:
            layers += layers_of_reconstruction(read_reconstruction(one), name)
        else:
            layers.append(layer_of_scan(read_scan(one), name))
    return layers


def layer_of_scan(scan: Scan, name: str) -> LayerTuple:
    """An image layer ([n,] e, y, x): the slider of an even energy axis is in keV, y and x are in nm."""
    data = to_numpy(scan.data)
    axis = energy_axis(scan.energies_kev)
    ones = (1.0,) * (data.ndim - 3)
    low, high = np.nanpercentile(data, _CONTRAST)
    facts = {
        "holds": "scan",
        "energies_kev": list(scan.energies_kev),
        "stack": None if scan.stack is None else scan.stack.model_dump_json(),
        "forward": scan.forward,
        "noise": scan.noise,
        "config": json.dumps(scan.history, default=str),
        "truth": None if scan.truth is None else to_numpy(scan.truth),
    }
    settings = {
        "name": name,
        "scale": (*ones, float(axis.get("scale", 1.0)), scan.pixel_nm, scan.pixel_nm),
        "translate": (*(0.0 * one for one in ones), float(axis.get("offset", 0.0)), 0.0, 0.0),
        "axis_labels": (*("sample" for _ in ones), "energy", "y", "x"),
        "units": (*("pixel" for _ in ones), "keV" if "scale" in axis else "pixel", "nm", "nm"),
        "contrast_limits": (float(low), float(max(high, low + 1e-6))),
        "metadata": {NODE: facts},
    }
    return data, settings, "image"


def scan_of_layer(data: Any, settings: Mapping[str, Any]) -> Scan:
    """The scan of an image layer; its pixel size is that of the layer's scale [nm].

    Raises MicrotomoError for a layer that is none of a scan, and for pixels that are not square.
    """
    facts = settings.get("metadata", {}).get(NODE, {})
    if facts.get("holds") != "scan":
        raise MicrotomoError(f"layer {settings.get('name', '')}: is no scan: open a scan file, it knows its energies")
    truth = facts["truth"]
    array = np.asarray(data)
    return Scan(
        array,
        tuple(facts["energies_kev"]),
        _pixel(settings),
        None if facts["stack"] is None else make_stack(json.loads(facts["stack"])),
        facts["forward"],
        facts["noise"],
        truth if truth is None or truth.shape[-2:] == array.shape[-2:] else None,
        json.loads(facts["config"]),
    )


def layers_of_reconstruction(rec: Reconstruction, name: str) -> list[LayerTuple]:
    """Of each material an image of thickness [nm] and one of its standard deviation, then fit, volume and status.

    All but the thickness are hidden at first. Volume ([n,] z, y, x) and status are labels.
    """
    facts = {
        "holds": "reconstruction", "name": name, "stack": rec.stack.model_dump_json(),
        "config": json.dumps(rec.history, default=str),
        "verdicts": json.dumps([v.as_dict() for v in rec.verdicts]),
        **{key: getattr(rec, key) for key in ("method", "forward", "noise", "voxel_nm", "pixel_nm", "seconds")},
    }  # fmt: skip
    leading = (1.0,) * (rec.thickness.ndim - 3)
    samples = ("sample",) * len(leading)
    axes = {
        "scale": (*leading, rec.pixel_nm, rec.pixel_nm),
        "units": (*("pixel" for _ in leading), "nm", "nm"),
        "axis_labels": (*samples, "y", "x"),
    }

    def layer(what: str, values: np.ndarray, kind: str, title: str, **more: Any) -> LayerTuple:
        said = {"name": f"{name} {title}", "metadata": {NODE: {**facts, "is": what}}, **axes}
        return values, {**said, **more}, kind

    thickness, uncertainty = to_numpy(rec.thickness), to_numpy(rec.uncertainty)
    hidden = {"visible": False}
    layers = []
    for k, (symbol, most) in enumerate(zip(rec.stack.symbols, rec.stack.max_nm, strict=True)):
        one: dict[str, Any] = {"colormap": "viridis", "contrast_limits": (0.0, float(most))}
        layers.append(layer(f"thickness {k}", thickness[..., k, :, :], "image", f"{symbol} [nm]", **one))
    for k, symbol in enumerate(rec.stack.symbols):
        one = {"colormap": "magma", **hidden}
        layers.append(layer(f"uncertainty {k}", uncertainty[..., k, :, :], "image", f"{symbol} sd [nm]", **one))
    layers.append(layer("chi_square 0", to_numpy(rec.chi_square), "image", "chi-square", **hidden))
    if rec.rejected is not None:
        layers.append(layer("rejected 0", to_numpy(rec.rejected), "image", "rejected energies", **hidden))
    deep: dict[str, Any] = {
        "scale": (*leading, rec.voxel_nm, rec.pixel_nm, rec.pixel_nm),
        "units": (*("pixel" for _ in leading), "nm", "nm", "nm"),
        "axis_labels": (*samples, "z", "y", "x"),
        **hidden,
    }
    layers.append(layer("volume 0", to_numpy(rec.volume), "labels", "volume", **deep))
    words: dict[str, Any] = {"features": {"status": [s.name.lower().replace("_", " ") for s in Status]}, **hidden}
    layers.append(layer("status 0", to_numpy(rec.status), "labels", "status", **words))
    return layers


def reconstruction_of_layers(layers: Sequence[LayerTuple]) -> Reconstruction:
    """The reconstruction that layers are of. Raises MicrotomoError where one is missing, or they are of several."""
    parts: dict[str, dict[int, np.ndarray]] = {}
    facts: dict[str, Any] = {}
    settings: Mapping[str, Any] = {}
    for data, settings, _ in layers:
        said = settings.get("metadata", {}).get(NODE, {})
        if said.get("holds") != "reconstruction" or (facts and said["name"] != facts["name"]):
            raise MicrotomoError(f"layer {settings.get('name', '')}: choose all layers of one reconstruction, no other")
        facts = said
        what, number = said["is"].split()
        parts.setdefault(what, {})[int(number)] = np.asarray(data)
    stack = make_stack(json.loads(facts["stack"]))
    count = len(stack.layers)
    wanted = {"thickness": count, "uncertainty": count, "chi_square": 1, "volume": 1, "status": 1}
    if missing := [what for what, number in wanted.items() if len(parts.get(what, ())) != number]:
        raise MicrotomoError(f"the layers {', '.join(missing)} are missing: choose all layers of a reconstruction")
    layered = ("thickness", "uncertainty")
    maps: dict[str, Any] = {
        what: np.stack([of[k] for k in sorted(of)], -3) if what in layered else of[0] for what, of in parts.items()
    }
    numbers = {key: facts[key] for key in ("method", "forward", "noise", "voxel_nm", "seconds")}
    verdicts = tuple(Verdict.of(table) for table in json.loads(facts["verdicts"]))
    history = json.loads(facts["config"])
    return Reconstruction(**maps, **numbers, stack=stack, pixel_nm=_pixel(settings), history=history, verdicts=verdicts)


def write_layer(path: str, data: Any, settings: dict[str, Any]) -> list[str]:
    """Write the image layer of a scan. Raises MicrotomoError where it is none, or the file cannot be written."""
    write_scan(path, scan_of_layer(data, settings))
    return [path]


def write_layers(path: str, layers: Sequence[LayerTuple]) -> list[str]:
    """Write the layers of a reconstruction; a single one may be a scan. Raises MicrotomoError for any others."""
    if len(layers) == 1:
        return write_layer(path, *layers[0][:2])
    write_reconstruction(path, reconstruction_of_layers(layers))
    return [path]


def _methods(_: Any = None) -> list[str]:
    return [method.name for method in list_methods(input="scan")]


Methods: TypeAlias = Annotated[str, {"choices": _methods}]
NoisePercent: TypeAlias = Annotated[float, {"min": 0.0, "max": 50.0, "label": "noise [%], 0: estimate"}]
VoxelNm: TypeAlias = Annotated[float, {"min": 0.1, "max": 1000.0, "label": "voxel [nm]"}]


def reconstruct_layer(
    scan: "napari.layers.Image", method: Methods = "map", noise_percent: NoisePercent = 0.0, voxel_nm: VoxelNm = 10.0
) -> list[LayerTuple]:
    """Layers of the reconstruction of a scan's layer.

    Raises MicrotomoError for a layer that is no scan, and as :func:`microtomo.reconstruct`.
    """
    settings = {"name": scan.name, "scale": scan.scale, "metadata": scan.metadata}
    noise = noise_percent / 100 if noise_percent > 0 else None
    rec = reconstruct(scan_of_layer(scan.data, settings), method, noise=noise, voxel_nm=voxel_nm)
    return layers_of_reconstruction(rec, f"{scan.name} {method}")


def reconstruct_in_background(
    scan: "napari.layers.Image", method: Methods = "map", noise_percent: NoisePercent = 0.0, voxel_nm: VoxelNm = 10.0
) -> "napari.qt.threading.FunctionWorker[list[napari.types.LayerDataTuple]]":
    """The same in a thread, with napari's sign of activity: napari makes the dock widget of this signature."""
    from napari.qt.threading import create_worker

    progress = {"desc": f"{method} of {scan.name}"}
    return create_worker(
        reconstruct_layer, scan, method, noise_percent, voxel_nm, _start_thread=True, _progress=progress
    )


def sample_scan() -> list[LayerTuple]:
    """The layer of a simulated scan: pads of gold under aluminium on silicon, 2 % noise."""
    return [layer_of_scan(_sample(), "sample")]


def sample_reconstruction() -> list[LayerTuple]:
    """The layers of that scan and of its reconstruction by the method ``map``."""
    scan = _sample()
    return [layer_of_scan(scan, "sample"), *layers_of_reconstruction(reconstruct(scan, "map"), "sample map")]


def _sample() -> Scan:
    stack = load_stack("au-al-si")
    return simulate_scan(stack, make_structure(stack, "pads", [8, 3], _SAMPLE_SIDE, _SAMPLE_SIDE), seed=1)


def _pixel(settings: Mapping[str, Any]) -> float:
    """Side of a pixel [nm] from the scale of a layer."""
    y, x = (float(v) for v in settings["scale"][-2:])
    if not np.isclose(y, x, rtol=1e-3):
        raise MicrotomoError(f"layer {settings.get('name', '')}: pixels are {y:g} x {x:g} nm, not square: resample it")
    return x
