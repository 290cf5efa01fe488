"""Maps as 32-bit TIFF with their scale, as ImageJ and Fiji read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from microtomo.io.atomic import whole_file, writing


def write_imagej(
    path: str | Path, maps: np.ndarray, pixel_nm: float, labels: Sequence[str], inputs: Iterable[Path] = ()
) -> Path:
    """Write maps (k, y, x) as one stack of float32 slices with ``labels``; the scale of x and y is in nm.

    Raises MicrotomoError where the file cannot be written.
    """
    import tifffile

    stack = np.ascontiguousarray(maps, dtype=np.float32)
    with whole_file(path, inputs, stack.nbytes) as temporary, writing(path):
        tifffile.imwrite(
            temporary,
            stack,
            imagej=True,
            resolution=(1 / pixel_nm, 1 / pixel_nm),
            metadata={"axes": "ZYX", "unit": "nm", "Labels": list(labels), "mode": "grayscale"},
        )
    return Path(path)
