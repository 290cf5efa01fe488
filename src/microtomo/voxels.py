"""Thickness maps to labelled volumes and back."""

from __future__ import annotations

import math

import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.scan import Array, as_labels, as_tensor, like

RULES = ("floor", "centre")


def default_depth(stack: Stack, voxel_nm: float = 10.0) -> int:
    """Voxels that hold the thickest stack: sum of floor(max_nm / voxel_nm); 16 for ``au-al-si``."""
    _check_voxel(voxel_nm)
    return max(1, sum(math.floor(nm / voxel_nm + 1e-6) for nm in stack.max_nm))


def thickness_to_volume(thickness: Array, depth: int = 16, voxel_nm: float = 10.0, rule: str = "floor") -> Array:
    """Labelled volume of a layer stack.

    ``floor`` (the published rule): layer k fills floor(d_k / voxel_nm) voxels on top of the layers below it.
    ``centre``: a voxel belongs to the layer that its centre lies in, so that layers thinner than a voxel
    and their remainders add up instead of vanishing.

    Parameters
    ----------
    thickness
        (..., l, y, x) [nm], bottom to top; finite and not negative.
    depth
        Voxels along z; what stands above is cut off.

    Returns
    -------
    (..., z, y, x) uint8: 0 empty, k = layer k, z from the bottom.
    """
    d = as_tensor(thickness)
    if rule not in RULES:
        raise MicrotomoError(f"unknown voxel rule {rule!r}: use {' or '.join(RULES)}")
    _check_voxel(voxel_nm)
    if not bool(torch.isfinite(d).all()) or bool((d < 0).any()):
        raise MicrotomoError("thickness has negative or non-finite values: a volume needs finite thicknesses in nm")
    z = torch.arange(depth, device=d.device, dtype=d.dtype)[:, None, None]
    if rule == "floor":
        tops = torch.floor(d / voxel_nm).cumsum(-3)
    else:
        tops, z = d.cumsum(-3) / voxel_nm, z + 0.5
    volume = torch.zeros((*d.shape[:-3], depth, *d.shape[-2:]), dtype=torch.uint8, device=d.device)
    for k in reversed(range(d.shape[-3])):
        volume[z < tops[..., k, None, :, :]] = k + 1
    return like(volume, thickness)


def volume_to_thickness(volume: Array, layers: int, voxel_nm: float = 10.0) -> Array:
    """Thickness (..., l, y, x) [nm] of each layer: its voxels in a column times the voxel size; float32."""
    labels = as_labels(volume)
    counts = torch.stack([(labels == k + 1).sum(-3) for k in range(layers)], dim=-3)
    return like(counts.float() * voxel_nm, volume)


def _check_voxel(voxel_nm: float) -> None:
    if not 0 < voxel_nm < math.inf:
        raise MicrotomoError(f"voxel size {voxel_nm:g} nm is impossible: give more than 0")
