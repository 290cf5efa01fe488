"""Multi-energy backscatter SEM tomography: which material, how thick, at every pixel, with an error bar."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import version

    from microtomo.acquisition.importing import import_stack
    from microtomo.errors import MicrotomoError
    from microtomo.inverse.calibration import calibrate
    from microtomo.inverse.evaluation import evaluate
    from microtomo.inverse.reconstruct import reconstruct
    from microtomo.io.reconstructions import read_reconstruction, write_reconstruction
    from microtomo.io.scans import read_scan, write_scan
    from microtomo.materials import Layer, Material, Stack, load_stack
    from microtomo.metrics import thickness_scores, voxel_scores
    from microtomo.physics.forward import backscatter
    from microtomo.registry import list_methods
    from microtomo.scan import Reconstruction, Scan, Status
    from microtomo.simulate.scans import simulate_scan
    from microtomo.simulate.structures import make_structure
    from microtomo.tem.segmentation import segment
    from microtomo.training.run import train
    from microtomo.viewer.show import show
    from microtomo.voxels import thickness_to_volume, volume_to_thickness

    __version__ = version("microtomo")

__all__ = [
    "Layer",
    "Material",
    "MicrotomoError",
    "Reconstruction",
    "Scan",
    "Stack",
    "Status",
    "__version__",
    "backscatter",
    "calibrate",
    "evaluate",
    "import_stack",
    "list_methods",
    "load_stack",
    "make_structure",
    "read_reconstruction",
    "read_scan",
    "reconstruct",
    "segment",
    "show",
    "simulate_scan",
    "thickness_scores",
    "thickness_to_volume",
    "train",
    "volume_to_thickness",
    "voxel_scores",
    "write_reconstruction",
    "write_scan",
]

_HOMES = {
    "acquisition.importing": ("import_stack",),
    "errors": ("MicrotomoError",),
    "inverse.calibration": ("calibrate",),
    "inverse.evaluation": ("evaluate",),
    "inverse.reconstruct": ("reconstruct",),
    "io.reconstructions": ("read_reconstruction", "write_reconstruction"),
    "io.scans": ("read_scan", "write_scan"),
    "materials": ("Layer", "Material", "Stack", "load_stack"),
    "metrics": ("thickness_scores", "voxel_scores"),
    "physics.forward": ("backscatter",),
    "registry": ("list_methods",),
    "scan": ("Reconstruction", "Scan", "Status"),
    "simulate.scans": ("simulate_scan",),
    "simulate.structures": ("make_structure",),
    "tem.segmentation": ("segment",),
    "training.run": ("train",),
    "viewer.show": ("show",),
    "voxels": ("thickness_to_volume", "volume_to_thickness"),
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: torch alone takes seconds, and `microtomo --help` needs none of it.
    if name == "__version__":
        from importlib.metadata import version

        return version("microtomo")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"microtomo.{home}"), name)
            return value
    raise AttributeError(f"module 'microtomo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
