"""From images as recorded to one stack: sorted by energy, one size, nothing twice, nothing cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtomo.acquisition.quality import full_scale
from microtomo.errors import MicrotomoError
from microtomo.io.images import Frame
from microtomo.materials import check_energies

_SATURATED = 0.05  # share of pixels at the top of the range that no correction mends


@dataclass(frozen=True)
class Recording:
    """Images (e, y, x) as recorded, their energies [keV], increasing, pixel size [nm] (None: not known), their names
    and the files they are from."""

    images: np.ndarray
    energies_kev: tuple[float, ...]
    pixel_nm: float | None
    names: tuple[str, ...]
    files: tuple[Path, ...]


def assemble(
    frames: Sequence[Frame], energies_kev: Sequence[float] | None = None, pixel_nm: float | None = None
) -> Recording:
    """One stack out of frames, in the order of the energies.

    ``energies_kev`` and ``pixel_nm`` go before what the files say; energies are given in the order of the frames,
    except that files which name those same energies keep their own.
    Raises MicrotomoError for energies that are missing, given twice or too many, images of different sizes or pixel
    sizes, colours, numbers that are not finite, and saturated images.
    """
    energies = _energies(frames, energies_kev)
    order = sorted(range(len(frames)), key=lambda i: energies[i])
    frames, energies = [frames[i] for i in order], [energies[i] for i in order]
    for (a, e), (b, f) in zip(
        zip(frames, energies, strict=True), zip(frames[1:], energies[1:], strict=False), strict=False
    ):
        if math.isclose(e, f, rel_tol=1e-6):
            raise MicrotomoError(f"{a.name} and {b.name} are both at {e:g} keV: keep one of them, or average them")
    try:
        check_energies(tuple(energies))
    except ValueError as error:
        raise MicrotomoError(str(error)) from None
    images = _images(frames)
    _check_saturation(images, frames)
    return Recording(
        images,
        tuple(energies),
        pixel_nm or _pixel(frames),
        tuple(f.name for f in frames),
        tuple(dict.fromkeys(f.path for f in frames)),
    )


def _energies(frames: Sequence[Frame], given: Sequence[float] | None) -> list[float]:
    per_frame = [f.energy_kev for f in frames]
    known = [e for e in per_frame if e is not None]
    if given is not None:
        wanted = [float(e) for e in given]
        if len(known) == len(frames) == len(wanted) and np.allclose(sorted(known), sorted(wanted), atol=1e-3):
            return known
        if len(wanted) != len(frames):
            lacking = (
                [e for e in wanted if not np.isclose(known, e, atol=1e-3).any()] if len(known) == len(frames) else []
            )
            if lacking:
                raise MicrotomoError(
                    f"{len(frames)} images but {len(wanted)} energies, no image is at "
                    f"{', '.join(f'{e:g}' for e in lacking[:8])} keV: add what is missing, or leave --energies out, as "
                    "the files tell their own"
                )
            raise MicrotomoError(
                f"{len(frames)} images but {len(wanted)} energies: give one energy an image with --energies, in "
                f"the order {frames[0].name} ... {frames[-1].name}"
            )
        return wanted
    if len(known) < len(frames):
        without = [f.name for f in frames if f.energy_kev is None]
        shown = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
        raise MicrotomoError(
            f"no energy is known for {shown}: pass --energies, such as --energies 5:35, or put it into the names "
            "(scan_05keV.tif)"
        )
    return known


def _images(frames: Sequence[Frame]) -> np.ndarray:
    first = frames[0]
    for frame in frames:
        shape = " x ".join(str(n) for n in frame.image.shape)
        if frame.image.shape != first.image.shape:
            raise MicrotomoError(
                f"{frame.name} is {shape} pixels but {first.name} {' x '.join(str(n) for n in first.image.shape)}: "
                "export all images at one size, or leave out those that differ"
            )
        if frame.image.dtype.kind not in "fiu":
            raise MicrotomoError(f"{frame.name} holds {frame.image.dtype}, not grey values: export the detector signal")
        if frame.image.dtype.kind == "f" and not np.isfinite(frame.image).all():
            raise MicrotomoError(f"{frame.name} has NaN or infinite values: export it again without masks")
        if frame.image.dtype != first.image.dtype and {frame.image.dtype.itemsize, first.image.dtype.itemsize} & {1}:
            raise MicrotomoError(
                f"{frame.name} has {8 * frame.image.dtype.itemsize} bits but {first.name} "
                f"{8 * first.image.dtype.itemsize}: export all images with the same number of bits"
            )
    images = np.stack([f.image for f in frames])
    return images if images.dtype.isnative else images.astype(images.dtype.newbyteorder("="))


def _check_saturation(images: np.ndarray, frames: Sequence[Frame]) -> None:
    top = full_scale(images)
    if top is None:
        return
    share = (images >= top).mean((1, 2))
    if share.max() > _SATURATED:
        worst, many = int(share.argmax()), int((share > _SATURATED).sum())
        bits = round(math.log2(top + 1))
        raise MicrotomoError(
            f"{frames[worst].name}: {share[worst]:.1%} of the pixels are at {top:g}, the top of {bits} bits, as in "
            f"{many} of {len(images)} images: lower the detector's contrast or brightness and scan again"
            f"{' with 16 bits' if bits == 8 else ''}, or leave those energies out"
        )


def _pixel(frames: Sequence[Frame]) -> float | None:
    sizes = [(f.pixel_nm, f.name) for f in frames if f.pixel_nm]
    if not sizes:
        return None
    smallest, largest = min(sizes), max(sizes)
    if largest[0] > 1.01 * smallest[0]:
        raise MicrotomoError(
            f"pixels are {smallest[0]:g} nm in {smallest[1]} but {largest[0]:g} nm in {largest[1]}: scan all energies "
            "at one magnification, or pass --pixel-nm where the files are wrong"
        )
    return float(np.median([s for s, _ in sizes]))
