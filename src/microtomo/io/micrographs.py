"""Micrographs from files, and masks and pictures to them: TIFF, PNG, .npy, .dm3, .dm4 and other formats of images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError, cause, few
from microtomo.inputs import check_input, check_memory
from microtomo.io.arrays import read_npy
from microtomo.io.atomic import whole_file, writing
from microtomo.io.kinds import MICROGRAPH_SUFFIXES, NPY, RESULT_ENDINGS, Kind, files_in, format_of, kind_of
from microtomo.io.recorded import read_image_file

_COMPUTED = tuple(ending for ending in RESULT_ENDINGS if ending != "_LABEL")
LABEL_ENDINGS = ("_mask", "_LABEL")
"""Ends of names of label images."""


@dataclass(frozen=True)
class Micrograph:
    """A grey image (y, x), float32, as recorded, and its pixel size [nm] where the file states one."""

    image: np.ndarray
    path: Path
    pixel_nm: float | None = None


def read_micrograph(path: str | Path) -> Micrograph:
    """One grey image of a file. Raises MicrotomoError for colour, stacks and what is no image.

    .dm3, .dm4 and other vendors' formats need rosettasciio. A picture that holds grey values three times over is grey.
    """
    pixels, pixel_nm = _read(Path(path))
    return Micrograph(np.ascontiguousarray(pixels, dtype=np.float32), Path(path), pixel_nm)


def read_pixels(path: str | Path) -> np.ndarray:
    """The same image (y, x) in the type of number that it is recorded in."""
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[np.ndarray, float | None]:
    if path.is_dir():
        raise MicrotomoError(f"{path}: is a folder: give one image")
    if path.exists() and path.stat().st_size == 0:
        raise MicrotomoError(f"{path}: is empty (0 bytes): copy it anew")
    kind, pixel_nm = kind_of(path), None
    if kind is Kind.PICTURE:
        pixels = _picture(path)
    elif format_of(path) is NPY:
        pixels = np.asarray(read_npy(path).data)
    elif kind is Kind.RECORDED:
        frames = read_image_file(path)
        if len(frames) != 1:
            raise MicrotomoError(f"{path}: holds {len(frames)} images: save one image a file")
        pixels, pixel_nm = frames[0].image, frames[0].pixel_nm
    else:
        known = ", ".join(MICROGRAPH_SUFFIXES)
        raise MicrotomoError(f"{path}: unknown format {path.suffix.lower() or 'without suffix'}: give one of {known}")
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        pixels = _grey_of_colour(path, pixels[..., :3])
    if pixels.ndim != 2 or pixels.dtype.kind not in "fiub":
        raise MicrotomoError(f"{path}: holds {pixels.dtype} of shape {pixels.shape}: give one grey image (y, x)")
    return pixels, pixel_nm


def read_mask(path: str | Path) -> np.ndarray:
    """A mask (y, x): True where the image is not 0."""
    return read_micrograph(path).image > 0


def write_picture(path: str | Path, pixels: np.ndarray, inputs: tuple[Path, ...] = ()) -> None:
    """A grey (y, x) or colour (y, x, 3) uint8 picture, or float32 (y, x) as TIFF, whole or not at all."""
    from PIL import Image

    path = Path(path)
    kind = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG"}.get(path.suffix.lower())
    if kind is None:
        raise MicrotomoError(f"{path}: masks and pictures are written as .png or .tif: choose such a name")
    with whole_file(path, inputs) as temporary, writing(path):
        Image.fromarray(pixels).save(temporary, format=kind)


def list_micrographs(folder: str | Path, labels: bool = False) -> list[Path]:
    """Images of a folder in natural order, without masks, overlays and labels; with ``labels`` its label images, which
    are those that end in ``_mask`` or ``_LABEL`` if any does, else all.

    Raises MicrotomoError where there is none, or where two would give results of one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MicrotomoError(f"{folder}: is no folder: give one with images")
    files = files_in(folder, MICROGRAPH_SUFFIXES)
    paths = [path for path in files if labels and path.stem.endswith(LABEL_ENDINGS)]
    paths = paths or [path for path in files if not path.stem.endswith(RESULT_ENDINGS)]
    if not paths:
        raise MicrotomoError(
            f"{folder}: holds no images ({', '.join(MICROGRAPH_SUFFIXES)}): give the folder with micrographs"
        )
    if skipped := [] if labels else [path.name for path in files if path.stem.endswith(_COMPUTED)]:
        warnings.warn(f"{folder}: left out {few(skipped)}, which were computed from images", stacklevel=2)
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise MicrotomoError(f"{path}: has the name of {stems[path.stem].name}: rename one, results would collide")
        stems[path.stem] = path
    return paths


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(check_input(path)) as picture:
            check_memory(path, 4 * picture.width * picture.height, path.stat().st_size)
            if picture.mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "PA"):
                return _grey_of_colour(path, np.asarray(picture.convert("RGB")))
            return np.asarray(picture)
    except (MicrotomoError, MemoryError):
        raise
    except Exception as error:  # among them bombs, and readers that fail in every way on damaged files
        raise MicrotomoError(f"{path}: cannot be read as an image ({cause(error)}): export it again") from error


def _grey_of_colour(path: Path, pixels: np.ndarray) -> np.ndarray:
    # Many programs save grey values three times over: nothing is lost in taking them once.
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    raise MicrotomoError(
        f"{path}: is a colour (RGB) image: export the micrograph itself as grey values, not a screenshot"
    )
