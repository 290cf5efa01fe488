"""Good files for benchmarks/fuzz.py to damage, a few kilobytes each, and everything that reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def seeds(folder: Path) -> dict[str, list[Path]]:
    """Good files of each family."""
    import numpy as np

    rng = np.random.default_rng(0)
    makers = (_hdf5_seeds, _numpy_seeds, _tiff_seeds, _picture_seeds, _vendor_seeds, _text_seeds, _packed_seeds)
    families = ("hdf5", "numpy", "tiff", "picture", "vendor", "text", "packed")
    made = {}
    for family, make in zip(families, makers, strict=True):
        place = folder / family
        place.mkdir()
        make(place, rng)
        made[family] = sorted(path for path in place.rglob("*") if path.is_file())
    return made


def _hdf5_seeds(folder: Path, rng: Any) -> None:
    import h5py

    from microtomo.inverse.reconstruct import reconstruct
    from microtomo.io.reconstructions import write_reconstruction
    from microtomo.io.scans import read_scan, write_scan
    from microtomo.simulate.dataset import load_config
    from microtomo.simulate.generation import generate_dataset

    config = load_config(samples=2, height=6, width=7, shard_samples=1, forward="published")
    generate_dataset(config, folder / "set")
    (folder / "set" / "dataset.json").unlink()
    scan = read_scan(folder / "set")
    write_scan(folder / "scan.h5", scan)
    write_reconstruction(folder / "rec.h5", reconstruct(scan, "likelihood", forward="published"), scan.truth)
    with h5py.File(folder / "plain.hdf5", "w", libver="latest") as file:
        file.create_dataset("a/images", data=scan.data[0], chunks=(4, 6, 7), compression="gzip", shuffle=True)
        file["a/energy"] = scan.energies_kev
        file["a/energy"].attrs["units"] = "keV"


def _numpy_seeds(folder: Path, rng: Any) -> None:
    import numpy as np

    data = rng.uniform(1, 2, (31, 6, 7)).astype("f4")
    np.save(folder / "scan.npy", data)
    np.save(folder / "image.npy", (data[0] * 99).astype("u2"))
    np.savez(folder / "scan.npz", data=data, energies=np.arange(5.0, 36.0))
    np.savez_compressed(folder / "packed.npz", scan=data)


def _tiff_seeds(folder: Path, rng: Any) -> None:
    import tifffile

    data = rng.integers(90, 4000, (31, 12, 16), dtype="u2")
    tifffile.imwrite(folder / "stack.tif", data, photometric="minisblack")
    tifffile.imwrite(folder / "al_05keV.tif", data[0], resolution=(100, 100), metadata={"unit": "um"}, imagej=True)
    tifffile.imwrite(folder / "tiled.tif", data[0], tile=(16, 16), compression="zlib")
    fei = b"[Beam]\nHV=5000\n[Scan]\nPixelWidth=4e-9\n[Image]\nResolutionY=10\n"
    tifffile.imwrite(folder / "fei.tif", data[0], extratags=[(34682, 2, len(fei) + 1, fei, True)])


def _picture_seeds(folder: Path, rng: Any) -> None:
    from PIL import Image

    image = Image.fromarray(rng.integers(0, 255, (12, 16), dtype="u1"))
    for suffix in ("png", "bmp", "jpg", "gif", "pgm", "webp"):
        image.save(folder / f"image.{suffix}")


def _vendor_seeds(folder: Path, rng: Any) -> None:
    import h5py
    import numpy as np

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    import formats

    image = rng.integers(90, 4000, (12, 16)).astype("i2")
    header = np.zeros(256, "i4")
    header[:4], header[7:10], header[16:19], header[52] = (16, 12, 1, 1), (16, 12, 1), (1, 2, 3), 0x2050414D
    header[10:13] = np.array([16, 12, 1], "f4").view("i4")
    (folder / "image.mrc").write_bytes(header.tobytes() + image.tobytes())
    with h5py.File(folder / "image.emd", "w") as file:
        file.attrs.update({"version_major": 0, "version_minor": 2})
        group = file.create_group("signals/image")
        group.attrs["emd_group_type"] = 1
        group["data"] = image
        for i, size in enumerate(image.shape, 1):
            group[f"dim{i}"] = np.arange(size) * 4.0
            group[f"dim{i}"].attrs.update({"name": "xy"[i - 1], "units": "nm"})
    formats.write_dm3(folder / "image.dm3", image.astype("u2"), 4.0, "nm", 5000.0)
    formats.write_velox(folder / "velox.emd", [image.astype("u2")], 4e-9, [5000.0])


def _text_seeds(folder: Path, rng: Any) -> None:
    from microtomo.io.stacks import stack_toml
    from microtomo.materials import load_stack

    (folder / "stack.toml").write_text(stack_toml(load_stack("au-al-si")), encoding="utf-8")
    own = '[[materials]]\nsymbol = "x"\nformula = "Si3N4"\ndensity_g_cm3 = 3.1\n'
    (folder / "own.toml").write_text(f'name = "s"\nsubstrate = "Si"\n[[layers]]\nmaterial = "x"\nmax_nm = 5\n{own}')
    (folder / "job.toml").write_text("samples = 3\nheight = 8\n[detector]\nnoise = 0.02\n[structures]\nperlin = 1.0\n")
    (folder / "films.csv").write_text("rows,columns,Au,Al\n0:3,0:3,5,0\n0:3,3:6,15,100\n")


def _packed_seeds(folder: Path, rng: Any) -> None:
    import numpy as np

    from microtomo.models.architectures import Shape, build_network
    from microtomo.models.weights import save_weights
    from microtomo.tem.graphene.reduction import compress, write_compressed

    image = rng.integers(90, 4000, (12, 16)).astype("u2")
    write_compressed(folder / "image.npz", compress(image, image > 2000))
    shape = {"architecture": "conv3", "width": 4}
    save_weights(folder / "small.safetensors", build_network(Shape.model_validate(shape)), {"seed": 1})
    energy = np.array([5.0, 20.0])
    bins, radii = np.full((2, 3), 0.1), np.ones((2, 3, 4)) * np.arange(1.0, 5.0)
    buried = {"buried_nm": np.array([10.0, 50.0]), "buried_radius_nm": np.ones((2, 2, 4)) * np.arange(1.0, 5.0)}
    np.savez(folder / "kernels.npz", energies_kev=energy, share=bins, exit_kev=bins, radius_nm=radii, **buried)


def read(family: str, path: Path) -> list[tuple[str, Callable[[], object]]]:
    """Everything that reads a file of a family, by name."""
    from microtomo.inverse.standards import read_standards
    from microtomo.io import micrographs, reconstructions, recorded, scans, studies, verification
    from microtomo.materials import load_stack
    from microtomo.models.architectures import Network
    from microtomo.models.weights import load_network, read_card
    from microtomo.physics.spread_kernels import read_kernels
    from microtomo.simulate.dataset import load_config
    from microtomo.tem.graphene.reduction import read_compressed

    place = path.parent if path.parent.name == "set" else path
    readers: dict[str, list[tuple[str, Callable[[], object]]]] = {
        "hdf5": [
            ("read_scan", lambda: scans.read_scan(place)),
            ("read_truth", lambda: scans.read_truth(place)),
            ("read_reconstruction", lambda: reconstructions.read_reconstruction(path)),
            ("load_study", lambda: studies.load_study(path)),
            ("verify", lambda: verification.verdict_of(path)),
        ],
        "numpy": [
            ("read_scan", lambda: scans.read_scan(path)),
            ("read_truth", lambda: scans.read_truth(path)),
            ("read_micrograph", lambda: micrographs.read_micrograph(path)),
        ],
        "tiff": [
            ("read_frames", lambda: recorded.read_frames([path])),
            ("read_scan", lambda: scans.read_scan(path)),
            ("read_micrograph", lambda: micrographs.read_micrograph(path)),
        ],
        "picture": [("read_micrograph", lambda: micrographs.read_micrograph(path))],
        "vendor": [("read_frames", lambda: recorded.read_frames([path]))],
        "text": [
            ("load_stack", lambda: load_stack(path)),
            ("load_config", lambda: load_config(path)),
            ("read_standards", lambda: read_standards(flat_scan(), path)),
        ],
        "packed": [
            ("read_card", lambda: read_card(path)),
            ("load_network", lambda: load_network(path, Network)),
            ("expand", lambda: read_compressed(path).expand()),
            ("read_kernels", lambda: read_kernels(path)),
        ],
    }
    return readers[family]


@cache
def flat_scan() -> Any:
    """A scan that the table of films fits."""
    import numpy as np

    from microtomo.materials import ENERGIES_KEV, load_stack
    from microtomo.scan import Scan

    return Scan(np.ones((31, 6, 7), "f4"), ENERGIES_KEV, stack=load_stack("au-al-si"))
