"""What a microscope saves: whole numbers of counts, drifting from energy to energy, one TIFF file an energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.materials import Stack, load_stack
from microtomo.physics.detector import Detector, detect
from microtomo.physics.forward import forward_model
from microtomo.registry import DEFAULT_FORWARD
from microtomo.scan import Array, Scan, as_tensor
from microtomo.seeds import NOISE, Stream, derive_seed


class Microscope(BaseModel):
    """A detector with everything that importing has to undo.

    ``detector`` gives counts: recorded = gain * signal + offset, so that gain is the counts of bare substrate and
    offset the dark level. ``drift_px``: one (dy, dx) an energy; what a still microscope shows at (y, x) stands at
    (y + dy, x + dx) in the image of that energy. Counts are rounded and cut off at 0 and at 2^``bits`` - 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Detector = Detector(noise=0.02, gain=(20000.0,), offset=(1500.0,))
    drift_px: tuple[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], ...] = ((0.0, 0.0),)
    bits: Annotated[int, Field(ge=1, le=16)] = 16


@dataclass(frozen=True)
class Acquisition:
    """Images (e, y, x) as recorded, uint8 up to 8 bits, else uint16; the drift (e, 2) [pixels] in them; and ``still``,
    the normalised scan of the same field, with its truth, that the same detector records without drift."""

    images: np.ndarray
    energies_kev: tuple[float, ...]
    pixel_nm: float
    drift_px: np.ndarray
    still: Scan


def simulate_acquisition(
    stack: Stack | str | Path,
    thickness: Array,
    microscope: Microscope,
    *,
    forward: str = DEFAULT_FORWARD,
    seed: int = 0,
    pixel_nm: float = 10.0,
) -> Acquisition:
    """Record a sample with a microscope that drifts.

    ``thickness`` (l, y, x) [nm] is the sample, wider than the field by a margin on every side for the drift: the whole
    pixels of the largest drift plus one. Pixels integrate over their area, so a drift by part of a pixel mixes
    neighbours.
    Raises MicrotomoError for settings that do not fit the number of energies or the size of the sample.
    """
    stack = load_stack(stack)
    depth = as_tensor(thickness)
    count = len(stack.energies_kev)
    drift = np.asarray(microscope.drift_px, dtype=float)
    if drift.ndim != 2 or drift.shape[1] != 2 or len(drift) not in (1, count):
        raise MicrotomoError(f"drift_px has shape {drift.shape} for {count} energies: give one (dy, dx), or one each")
    drift = np.broadcast_to(drift, (count, 2))
    margin = math.ceil(float(np.abs(drift).max())) + 1
    if depth.ndim != 3 or min(depth.shape[-2:]) <= 2 * margin:
        raise MicrotomoError(
            f"thickness has shape {tuple(depth.shape)}: it must be (layer, y, x) and wider than a margin of {margin} "
            "pixels on every side, for the drift"
        )
    signal = forward_model(forward, stack)(depth.double())
    field = torch.stack([shifted(s, dy, dx, margin) for s, (dy, dx) in zip(signal, drift, strict=True)])
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    noise_seed = derive_seed(seed, Stream.SAMPLES, 0, NOISE)
    counts = detect(field, microscope.detector, noise_seed).round().clamp(0, 2**microscope.bits - 1)
    ideal = microscope.detector.model_copy(update={"gain": (1.0,), "offset": (0.0,)})
    still = Scan(
        data=detect(signal[inner], ideal, noise_seed).float().numpy(),
        energies_kev=stack.energies_kev,
        pixel_nm=pixel_nm,
        stack=stack,
        forward=forward,
        noise=ideal.relative_noise,
        truth=depth[inner].float().numpy(),
    )
    images = counts.numpy().astype(np.uint8 if microscope.bits <= 8 else np.uint16)
    return Acquisition(images, stack.energies_kev, pixel_nm, np.array(drift), still)


def random_drift(count: int, step_px: float, seed: int) -> tuple[tuple[float, float], ...]:
    """A random walk of ``count`` places (dy, dx) [pixels] from (0, 0), with normal steps of ``step_px`` each way."""
    steps = np.random.Generator(np.random.Philox(key=seed)).normal(0, step_px, (count, 2))
    steps[0] = 0
    return tuple((float(dy), float(dx)) for dy, dx in np.cumsum(steps, 0))


def write_tiffs(folder: str | Path, images: np.ndarray, energies_kev: Sequence[float], pixel_nm: float) -> list[Path]:
    """Write images (e, y, x) as ``scan_05.0keV.tif``, ..., with the pixel size as ImageJ stores it, and list them.

    Raises MicrotomoError where a file cannot be written.
    """
    import tifffile

    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    per_um = 1000 / pixel_nm
    paths = []
    for image, energy in zip(images, energies_kev, strict=True):
        path = folder / f"scan_{energy:04.1f}keV.tif"
        with whole_file(path, needs_bytes=image.nbytes) as temporary, writing(path):
            tifffile.imwrite(temporary, image, imagej=True, resolution=(per_um, per_um), metadata={"unit": "um"})
        paths.append(path)
    return paths


def shifted(image: Tensor, dy: float, dx: float, margin: int) -> Tensor:
    """The inner part of an image (y, x), moved by (dy, dx): the mean over pixel areas of a piecewise constant scene."""
    for axis, shift in ((0, dy), (1, dx)):
        whole = math.floor(-shift)
        part = -shift - whole
        size = image.shape[axis] - 2 * margin
        first = image.narrow(axis, margin + whole, size)
        image = first if part == 0 else (1 - part) * first + part * image.narrow(axis, margin + whole + 1, size)
    return image
