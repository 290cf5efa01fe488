"""How good a reconstruction is: voxels and thickness against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.io.scans import Truth
from microtomo.metrics import ThicknessScores, VoxelScores, thickness_scores, voxel_scores
from microtomo.scan import Array, Reconstruction, Scan, Status
from microtomo.voxels import thickness_to_volume


@dataclass(frozen=True)
class Evaluation:
    """Scores of a reconstruction by ``method``; ``layers`` are symbols, bottom to top."""

    method: str
    layers: tuple[str, ...]
    voxels: VoxelScores
    thickness: ThicknessScores

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, all in one dictionary."""
        return {
            "method": self.method,
            "layers": list(self.layers),
            **self.voxels.as_dict(),
            **self.thickness.as_dict(),
        }


def evaluate(rec: Reconstruction, truth: Scan | Truth | Array) -> Evaluation:
    """Score a reconstruction: voxels by the published protocol and pooled, thickness in nm, error bars.

    Parameters
    ----------
    truth
        Thickness maps (l, y, x) or (n, l, y, x) [nm], a simulated scan, or what :func:`microtomo.io.scans.read_truth`
        reads. Of more samples than the reconstruction has, those are taken that it is of. The true volume follows the
        published rule (whole voxels, rounded down) unless the truth has one.

    Raises
    ------
    MicrotomoError
        Where the truth does not fit the reconstruction, or a scan has none.
    """
    if isinstance(truth, Scan):
        if truth.truth is None:
            raise MicrotomoError("the scan has no true thickness: give the maps, or a simulated scan")
        truth = truth.truth
    if not isinstance(truth, Truth):
        truth = Truth(_array(truth), None)
    thickness, volume = _of_same_samples(rec, truth)
    if volume is None or volume.shape != rec.volume.shape:
        volume = thickness_to_volume(np.asarray(thickness, dtype=float), rec.volume.shape[-3], rec.voxel_nm, "floor")
    maps = [rec.volume, volume, rec.thickness, thickness, rec.uncertainty]
    if (masked := _array(rec.status) == Status.MASKED).any():
        maps = [_kept(_array(values), ~masked) for values in maps]
    return Evaluation(
        rec.method,
        tuple(rec.stack.symbols),
        voxel_scores(maps[0], maps[1], ["empty", *rec.stack.symbols]),
        thickness_scores(*maps[2:]),
    )


def _kept(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Maps ([n,] k, y, x) at the pixels where ``kept`` ([n,] y, x) is True, as one row (k, 1, p)."""
    return np.asarray(np.moveaxis(values, -3, -1)[kept].T[:, None])


def _array(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _of_same_samples(rec: Reconstruction, truth: Truth) -> tuple[np.ndarray, np.ndarray | None]:
    """True thickness and volume of the samples that the reconstruction holds, in its shape."""
    thickness, volume = truth
    if thickness.ndim not in (3, 4) or thickness.dtype.kind not in "fiu":
        raise MicrotomoError(
            f"thickness has shape {thickness.shape}: maps are (layer, y, x) or (sample, layer, y, x) in nm"
        )
    numbers = rec.history.get("samples")
    if thickness.ndim == 4 and rec.thickness.ndim == 4 and len(thickness) != len(rec.thickness) and numbers:
        if max(numbers) >= len(thickness):
            raise MicrotomoError(
                f"has {len(thickness)} samples, the reconstruction is of sample {max(numbers)}: is it the same data?"
            )
        thickness, volume = thickness[numbers], None if volume is None else volume[numbers]
    if thickness.ndim == 4 and len(thickness) == 1 and rec.thickness.ndim == 3:
        thickness, volume = thickness[0], None if volume is None else volume[0]
    if thickness.ndim == 3 and rec.thickness.ndim == 4 and len(rec.thickness) == 1:
        thickness, volume = thickness[None], None if volume is None else volume[None]
    if thickness.shape != tuple(rec.thickness.shape):
        raise MicrotomoError(
            f"true thickness is {thickness.shape} but reconstructed {tuple(rec.thickness.shape)}: compare the same scan"
        )
    return thickness, volume
