"""``microtomo measure``: numbers from micrographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from microtomo.tem.graphene.atoms import Network

WHAT = ("atoms",)


def measure(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="What to measure: atoms (of graphene, with bonds).")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="TIFF, PNG, .npy, .dm3 or .dm4.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file: one line an atom.")],
    bonds: Annotated[Path | None, typer.Option(help="CSV file: one line a bond.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of atoms and bonds over the image.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask of contaminants; else --method finds them.")] = None,
    method: Annotated[str, typer.Option(help="Segmenter of contaminants, see `microtomo models`.")] = "bragg",
    pixel_nm: Annotated[
        float | None, typer.Option(help="Pixel size in nm; else the file's, else from the lattice.")
    ] = None,
    bond_nm: Annotated[float, typer.Option(help="Atoms closer than this are bonded.")] = 0.185,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Atoms, bonds and defect rings of graphene: contaminants left out, tables and a picture."""
    from microtomo.errors import MicrotomoError, nearest

    if what not in WHAT:
        raise MicrotomoError(f"cannot measure {what!r}; {nearest(what, list(WHAT))}")
    from microtomo.errors import naming
    from microtomo.io.atomic import check_output
    from microtomo.io.micrographs import read_mask, read_micrograph
    from microtomo.tem.graphene.atoms import find_network
    from microtomo.tem.segmentation import segment

    for path in (output, bonds, picture):
        if path is not None:
            check_output(path, [image])
    micrograph = read_micrograph(image)
    with naming(image):
        covered = segment(micrograph.image, method).mask if mask is None else read_mask(mask)
        network = find_network(micrograph.image, covered, pixel_nm or micrograph.pixel_nm, bond_nm)
    _write_atoms(output, network)
    if bonds is not None:
        _write_bonds(bonds, network)
    if picture is not None:
        _draw(picture, micrograph.image, network, covered, image.name)
    rings = {size: network.rings.get(size, 0) for size in (5, 6, 7)}
    told = {
        "atoms": len(network.atoms),
        "bonds": len(network.bonds),
        "rings": rings,
        "pixel_nm": network.pixel_nm,
        "contrast": "white" if network.white else "black",
        "covered": float(covered.mean()),
    }
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(
            f"{image.name}: {told['atoms']} {told['contrast']} atoms, {told['bonds']} bonds, rings of 5, 6, 7: "
            f"{rings[5]}, {rings[6]}, {rings[7]}; pixel {network.pixel_nm:.4f} nm; {covered.mean():.1%} contaminated; "
            f"written to {output}"
        )


def _write_atoms(path: Path, network: Network) -> None:
    rows = [
        f"{k},{y:.3f},{x:.3f},{y * network.pixel_nm:.4f},{x * network.pixel_nm:.4f},{bonded},{ring}"
        for k, ((y, x), bonded, ring) in enumerate(zip(network.atoms, network.neighbours, network.ring_of, strict=True))
    ]
    _write(path, ["atom,y_px,x_px,y_nm,x_nm,bonds,defect_ring", *rows])


def _write_bonds(path: Path, network: Network) -> None:
    from numpy import hypot

    length = hypot(*(network.atoms[network.bonds[:, 0]] - network.atoms[network.bonds[:, 1]]).T) * network.pixel_nm
    rows = [f"{a},{b},{d:.4f},{g:.2f}" for (a, b), d, g in zip(network.bonds, length, network.angles, strict=True)]
    _write(path, ["atom,other,length_nm,angle_modulo_60", *rows])


def _write(path: Path, lines: list[str]) -> None:
    from microtomo.io.atomic import whole_file

    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _draw(path: Path, image: np.ndarray, network: Network, covered: np.ndarray, title: str) -> None:
    from microtomo.viz.atoms import network_figure
    from microtomo.viz.figures import save_figure

    save_figure(network_figure(image, network, covered, title), path)
