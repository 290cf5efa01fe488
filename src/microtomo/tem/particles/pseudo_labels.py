"""Pseudo-labels of particles by filters, for training without labels drawn by hand.

Source: Horwath, Zakharov, Megret & Stach, npj Comput. Mater. 6 (2020) 108, Methods; reconstruction: Vincent, IEEE
Trans. Image Process. 2 (1993) 176. The reconstructions start from the image's border, so that a particle on it passes
for background; a frame of the background's grey, put around the image first, keeps it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy import ndimage

from microtomo.errors import MicrotomoError

_BACKGROUND = 90  # percentile of the grey values that the frame gets: clear of particles, below the brightest noise


class PseudoLabelConfig(BaseModel):
    """Settings of the filters; the defaults are the published ones, but for the frame (``frame_px`` 0: none).

    ``sigma_px`` of the Gaussian; ``opening_px`` radius of the disk of the opening; ``sobel`` whether the edges'
    height is added; ``bright`` whether particles are brighter than the background.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma_px: Annotated[float, Field(ge=0, le=100)] = 2.0
    opening_px: Annotated[int, Field(ge=0, le=100)] = 5
    sobel: bool = True
    frame_px: Annotated[int, Field(ge=0, le=1000)] = 8
    bright: bool = False


def read_config(path: str | Path) -> PseudoLabelConfig:
    """Settings from a JSON file. Raises MicrotomoError for a file that is missing or has other settings."""
    path = Path(path)
    if not path.is_file():
        raise MicrotomoError(f"{path}: no such file: give a JSON file with the settings of the pseudo-labels")
    try:
        return PseudoLabelConfig.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "is no text"}
        place = ".".join(str(part) for part in first["loc"])
        raise MicrotomoError(f"{path}: {place or 'the file'}: {first['msg']}") from None


def pseudo_label(image: np.ndarray, config: PseudoLabelConfig | None = None) -> np.ndarray:
    """Mask (y, x) bool of the particles of an image (y, x) of any scale.

    Raises MicrotomoError for an image that is even or not (y, x), and where scikit-image (extra ``io``) is missing.
    """
    return label_steps(image, config)["label"] > 0


def label_steps(image: np.ndarray, config: PseudoLabelConfig | None = None) -> dict[str, np.ndarray]:
    """The images (y, x) after each step, for the check sheet: ``image`` in 0..1, ``smooth``, ``peaks off``
    (reconstruction by dilation), ``background`` (by erosion), ``raised``, ``opened`` and ``label``."""
    c = config or PseudoLabelConfig()
    filters, morphology = _scikit_image()
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim != 2 or not np.isfinite(pixels).all() or pixels.min() == pixels.max():
        raise MicrotomoError("pseudo-labels need a grey image (y, x) of finite values that are not all the same")
    scaled = _rescaled(-pixels if c.bright else pixels)
    smooth = _rescaled(ndimage.gaussian_filter(scaled, c.sigma_px, mode="nearest"))
    framed = (
        np.pad(smooth, c.frame_px, constant_values=float(np.percentile(smooth, _BACKGROUND))) if c.frame_px else smooth
    )
    peaks_off = _reconstructed(morphology, framed, "dilation")
    background = _reconstructed(morphology, peaks_off, "erosion")
    raised = np.abs(peaks_off - background)
    raised = _rescaled(raised + filters.sobel(raised)) if c.sobel else _rescaled(raised)
    opened = _rescaled(morphology.opening(raised, morphology.disk(c.opening_px))) if c.opening_px else raised
    inner = slice(c.frame_px, -c.frame_px or None)
    steps = {"peaks off": peaks_off, "background": background, "raised": raised, "opened": opened}
    steps = {name: step[inner, inner] for name, step in steps.items()}
    label = (steps["opened"] > filters.threshold_otsu(steps["opened"])).astype(np.float64)
    return {"image": scaled, "smooth": smooth, **steps, "label": label}


def _reconstructed(morphology: Any, image: np.ndarray, method: str) -> np.ndarray:
    """Reconstruction from the border: inside, the seed is the least value (dilation) or the greatest (erosion)."""
    seed = image.copy()
    seed[1:-1, 1:-1] = image.min() if method == "dilation" else image.max()
    return np.asarray(morphology.reconstruction(seed, image, method=method))


def _rescaled(image: np.ndarray) -> np.ndarray:
    span = float(np.ptp(image))
    return np.asarray((image - image.min()) / span) if span > 0 else np.zeros_like(image)


def _scikit_image() -> tuple[Any, Any]:
    try:
        return import_module("skimage.filters"), import_module("skimage.morphology")
    except ImportError:
        raise MicrotomoError("pseudo-labels need scikit-image: install it with `pip install microtomo[io]`") from None
