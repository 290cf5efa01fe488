"""Files for other programs: VTK image data of labels (``.vti``), closed surfaces (``.stl``, ``.ply``)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.scan import as_tensor
from microtomo.study import Study
from microtomo.viz.colours import rgb, stack_colours
from microtomo.viz.figures import array
from microtomo.viz.scene import THINNEST_NM
from microtomo.viz.solids import Solid, layer_solids
from microtomo.voxels import default_depth, thickness_to_volume

SUFFIXES = (".vti", ".stl", ".ply")


def labels_of(study: Study, *, truth: bool = False) -> tuple[np.ndarray, float]:
    """Labels (z, y, x) uint8 of a study, 0 empty, and the height of a voxel [nm].

    Raises MicrotomoError where there is no volume.
    """
    if study.rec is not None and not truth:
        return array(study.rec.volume).astype(np.uint8), study.rec.voxel_nm
    voxel = study.rec.voxel_nm if study.rec is not None else 10.0
    volume = thickness_to_volume(as_tensor(_truth(study)), default_depth(study.stack, voxel), voxel)
    return array(volume).astype(np.uint8), voxel


def image_data(study: Study, *, truth: bool = False) -> Any:
    """The volume as ``vtkImageData``: cells are voxels, spacing and origin in nm, y = 0 at the last image row.

    Cell data: ``label`` (uint8) and, of a reconstruction, ``standard_deviation_nm`` (float32) of the voxel's layer.
    Field data: ``label_names`` (name of label k at place k) and ``units``.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkStringArray
    from vtkmodules.vtkCommonDataModel import vtkImageData

    labels, voxel_nm = labels_of(study, truth=truth)
    labels = np.ascontiguousarray(labels[:, ::-1])
    image = vtkImageData()
    image.SetDimensions(*(n + 1 for n in labels.shape[::-1]))
    image.SetSpacing(study.pixel_nm, study.pixel_nm, voxel_nm)

    def add(name: str, values: np.ndarray) -> None:
        data = numpy_to_vtk(values.ravel(), deep=True)
        data.SetName(name)
        image.GetCellData().AddArray(data)

    add("label", labels)
    image.GetCellData().SetActiveScalars("label")
    if study.rec is not None and not truth:
        sigma = array(study.rec.uncertainty)[:, ::-1].astype(np.float32)
        spread = np.zeros(labels.shape, dtype=np.float32)
        for k in range(len(sigma)):
            spread += (labels == k + 1) * sigma[k]
        add("standard_deviation_nm", spread)
    for name, words in (("label_names", ["empty", *study.stack.symbols]), ("units", ["nm"])):
        texts = vtkStringArray()
        texts.SetName(name)
        for word in words:
            texts.InsertNextValue(word)
        image.GetFieldData().AddArray(texts)
    return image


def vti_bytes(study: Study, *, truth: bool = False) -> bytes:
    """A ``.vti`` file, compressed."""
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    writer = vtkXMLImageDataWriter()
    writer.SetInputData(image_data(study, truth=truth))
    writer.WriteToOutputStringOn()
    writer.Write()
    return str(writer.GetOutputString()).encode()


def solids_of(study: Study, *, truth: bool = False) -> list[Solid]:
    """Closed surface of each layer, true to its thickness; layers of no pixel are left out.

    Raises MicrotomoError where no layer is there.
    """
    maps = study.rec.thickness if study.rec is not None and not truth else _truth(study)
    solids = layer_solids(array(maps).astype(np.float64), study.stack.symbols, study.pixel_nm, THINNEST_NM)
    present = [s for s in solids if len(s.triangles)]
    if not present:
        raise MicrotomoError(f"every layer is thinner than {THINNEST_NM:g} nm everywhere: there is no surface to write")
    return present


def stl_bytes(solid: Solid) -> bytes:
    """Binary STL in nm."""
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    data = np.zeros(len(solid.triangles), record)
    corners = solid.vertices[solid.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    data["normal"] = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    data["corners"] = corners
    head = f"{solid.name} in nm, written by microtomo".encode("ascii", "replace")[:80].ljust(80)
    return b"".join((head, np.array(len(data), "<u4").tobytes(), data.tobytes()))


def ply_bytes(solid: Solid, colour: str) -> bytes:
    """Binary PLY in nm, vertices in the colour ``#RRGGBB`` of the material."""
    vertex = np.zeros(len(solid.vertices), [("place", "<f4", 3), ("colour", "u1", 3)])
    vertex["place"], vertex["colour"] = solid.vertices, rgb(colour)
    face = np.zeros(len(solid.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, solid.triangles
    lines = [
        "ply", "format binary_little_endian 1.0", f"comment {solid.name} in nm, written by microtomo",
        f"element vertex {len(vertex)}", *(f"property float {a}" for a in "xyz"),
        *(f"property uchar {c}" for c in ("red", "green", "blue")),
        f"element face {len(face)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    return "\n".join(lines).encode("ascii", "replace") + b"\n" + vertex.tobytes() + face.tobytes()


def surface_files(study: Study, kind: str, *, truth: bool = False) -> dict[str, bytes]:
    """Content of one STL or PLY file (``kind``) a material, by its symbol."""
    colours = dict(zip(study.stack.symbols, stack_colours(study.stack)[1], strict=True))
    return {
        s.name: stl_bytes(s) if kind == "stl" else ply_bytes(s, colours[s.name]) for s in solids_of(study, truth=truth)
    }


def zipped(contents: dict[str, bytes]) -> bytes:
    """A ZIP of files by name."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def write_export(study: Study, path: Path, *, truth: bool = False, inputs: Sequence[Path] = ()) -> list[Path]:
    """Write ``.vti``, or one ``.stl`` or ``.ply`` a material as NAME-Au.stl, NAME-Al.stl; returns what was written.

    Raises MicrotomoError where there is nothing to write or a file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind == "vti":
        contents = {path: vti_bytes(study, truth=truth)}
    else:
        parts = surface_files(study, kind, truth=truth)
        contents = {path.with_name(f"{path.stem}-{name}{path.suffix}"): data for name, data in parts.items()}
    for target, data in contents.items():
        with whole_file(target, inputs, len(data)) as temporary, writing(target):
            temporary.write_bytes(data)
    return list(contents)


def _truth(study: Study) -> Any:
    if study.truth is None:
        raise MicrotomoError("no true thickness is known: reconstruct the scan and give that file")
    return study.truth
