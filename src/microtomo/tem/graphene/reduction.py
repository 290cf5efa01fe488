"""Sorting micrographs by what is usable on them, and run-length compression of what is not.

After Sadre et al., Microsc. Microanal. 27 (2021) 804, "Data Reduction and Sorting".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_memory
from microtomo.io.arrays import Npz
from microtomo.io.atomic import whole_file, writing

MOST_RATIO = 50
"""Times that an image is smaller when compressed, at most: one that is covered wholly has a few long runs."""


def usable_order(masks: Sequence[np.ndarray]) -> list[int]:
    """Indices of masks (y, x) from the largest usable (unmasked) share to the smallest; equals keep their order."""
    return sorted(range(len(masks)), key=lambda k: float(np.mean(masks[k])))


@dataclass(frozen=True)
class Compressed:
    """An image whose less important pixels are runs of one value.

    ``lengths`` of runs along the rows, in turn kept and compressed, kept first (0 where the image starts compressed);
    ``kept`` the kept pixels as they were; ``levels`` one value for each compressed run.
    """

    shape: tuple[int, int]
    lengths: np.ndarray
    kept: np.ndarray
    levels: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored."""
        return int(self.lengths.nbytes + self.kept.nbytes + self.levels.nbytes)

    @property
    def ratio(self) -> float:
        """Bytes of the image over bytes stored."""
        return self.shape[0] * self.shape[1] * self.kept.dtype.itemsize / max(1, self.nbytes)

    def expand(self) -> np.ndarray:
        """The image (y, x): kept pixels exactly, compressed runs at their level. MicrotomoError where parts misfit."""
        lengths = self.lengths.astype(np.int64)
        if (lengths < 0).any() or int(lengths.sum()) != self.shape[0] * self.shape[1]:
            raise MicrotomoError("the runs do not fill the image: the file is damaged")
        where = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        if len(self.levels) != len(lengths) // 2 or len(self.kept) != len(where) - int(where.sum()):
            raise MicrotomoError("the runs do not fill the image: the file is damaged")
        image = np.empty(len(where), self.kept.dtype)
        image[~where] = self.kept
        image[where] = np.repeat(self.levels, lengths[1::2])
        return image.reshape(self.shape)


def compress(image: np.ndarray, mask: np.ndarray) -> Compressed:
    """Run-length compression of the pixels (y, x) where ``mask`` (y, x) is True; each run keeps its mean.

    Raises MicrotomoError where the two differ in shape or there is no pixel.
    """
    if image.shape != mask.shape or image.ndim != 2:
        raise MicrotomoError(f"the mask is {mask.shape} but the image is {image.shape}: give the mask of this image")
    if image.size == 0:
        raise MicrotomoError("the image is empty: there is nothing to compress")
    flat, less = image.ravel(), mask.ravel().astype(bool)
    starts = np.concatenate([[0], np.flatnonzero(less[1:] != less[:-1]) + 1])
    lengths = np.diff([*starts, less.size])
    sums = np.add.reduceat(flat.astype(np.float64), starts)
    means = (sums / lengths)[less[starts]]
    if less[0]:
        lengths = np.concatenate([[0], lengths])
    levels = (np.rint(means) if flat.dtype.kind in "iu" else means).astype(flat.dtype)
    smallest = np.uint16 if lengths.max() < 2**16 else np.uint32
    return Compressed((image.shape[0], image.shape[1]), lengths.astype(smallest), flat[~less], levels)


def write_compressed(path: str | Path, data: Compressed) -> None:
    """A .npz archive of the parts, whole or not at all; any NumPy reads it."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise MicrotomoError(f"{path}: compressed images are written as .npz: choose such a name")
    with whole_file(path) as temporary, writing(path), temporary.open("wb") as file:
        np.savez(file, shape=np.array(data.shape), lengths=data.lengths, kept=data.kept, levels=data.levels)


def read_compressed(path: str | Path) -> Compressed:
    """Read what ``write_compressed`` wrote. Raises MicrotomoError for anything else."""
    with Npz(path) as archive:
        if not {"shape", "lengths", "kept", "levels"} <= archive.shapes.keys():
            raise MicrotomoError(f"{path}: is no compressed micrograph: give what `compress` wrote")
        shape, lengths, kept, levels = (archive[name] for name in ("shape", "lengths", "kept", "levels"))
    vectors = all(part.ndim == 1 for part in (shape, lengths, kept, levels))
    counts = shape.dtype.kind in "iu" and lengths.dtype.kind in "iu" and shape.shape == (2,) and (shape > 0).all()
    if not vectors or not counts or kept.dtype.kind not in "iuf" or levels.dtype != kept.dtype:
        raise MicrotomoError(f"{path}: is no compressed micrograph, or damaged: give what `compress` wrote")
    # runs may be long: a stored number stands for up to a whole image
    check_memory(path, int(shape[0]) * int(shape[1]) * 8, MOST_RATIO * Path(path).stat().st_size)
    return Compressed((int(shape[0]), int(shape[1])), lengths, kept, levels)
