"""What a segmenter of micrographs gives, and the one way from an image of any size to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.registry import Method, Preparation, Task, best_shipped, get_method, get_task
from microtomo.scan import Array, as_tensor


class Details(Protocol):
    """What a method knows of an image beside its labels, for the measurements of its task."""

    def enlarged(self, n: int, shape: tuple[int, ...]) -> Details:
        """The same for an image of ``shape`` that was binned by ``n`` before."""


@dataclass(frozen=True)
class Segmentation:
    """A micrograph split into the classes of a task.

    ``labels`` (y, x) uint8 number the task's classes, ``probabilities`` (c, y, x) float32 lie in 0..1 and add up to 1.
    Filters give score / (score + threshold), which orders pixels but is not calibrated; networks give theirs.
    ``uncertainty`` (y, x) is the standard deviation of the probability of a pixel's label where a method has one.
    ``method`` and ``options`` say where it comes from; ``details`` is what measurements of the task may read beside.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    uncertainty: np.ndarray | None = None
    details: Details | None = field(default=None, repr=False)

    @classmethod
    def of_mask(
        cls,
        mask: np.ndarray,
        probability: np.ndarray,
        method: str,
        options: dict[str, Any] | None = None,
        uncertainty: np.ndarray | None = None,
        details: Details | None = None,
    ) -> Segmentation:
        """Two classes: label 1 where ``mask`` (y, x) is True, and the ``probability`` (y, x) of that class."""
        probabilities = np.empty((2, *probability.shape), dtype=np.float32)
        np.subtract(1, probability, out=probabilities[0])
        probabilities[1] = probability
        return cls(mask.astype(np.uint8), probabilities, method, options or {}, uncertainty, details)

    @property
    def mask(self) -> np.ndarray:
        """Of two classes: where label 1 is (y, x), bool. Raises MicrotomoError for more classes."""
        self._only_two("labels")
        return self.labels > 0

    @property
    def probability(self) -> np.ndarray:
        """Of two classes: the probability (y, x) of label 1. Raises MicrotomoError for more classes."""
        self._only_two("probabilities")
        return np.asarray(self.probabilities[1])

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the pixels of each class."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.probabilities))
        return tuple(float(count) / self.labels.size for count in counts)

    def _only_two(self, instead: str) -> None:
        if len(self.probabilities) != 2:
            raise MicrotomoError(f"{self.method} tells {len(self.probabilities)} classes apart: take its {instead}")


def segment(
    image: Array,
    method: str | None = None,
    *,
    task: str | None = None,
    binning: int | None = None,
    **options: Any,
) -> Segmentation:
    """Segment a micrograph (y, x) of raw counts.

    ``method`` names a registered one, else it is the best that comes with the package for ``task`` (contaminant if not
    given). A large image is binned by a whole number to the task's working size, and the result comes in the image's
    own size; ``binning`` overrides the number (1: none). Raises MicrotomoError for an image that is no micrograph, a
    method of another task and options that it does not have.
    """
    chosen = segmenter(method, task)
    preparation = preparation_of(get_task(chosen.task))
    pixels = checked(image, preparation.smallest_px)
    n = working_binning(pixels, preparation) if binning is None else binning
    if n < 1 or min(pixels.shape) // n < preparation.smallest_px:
        most = min(pixels.shape) // preparation.smallest_px
        raise MicrotomoError(f"binning {n} leaves {min(pixels.shape) // max(n, 1)} pixels: choose 1 to {most}")
    small: Segmentation = chosen.run(binned(pixels, n), **chosen.checked(options))
    if n == 1:
        return small
    return Segmentation(
        enlarged(small.labels, n, pixels.shape),
        np.stack([enlarged(probability, n, pixels.shape) for probability in small.probabilities]),
        small.method,
        {**small.options, "binning": n},
        None if small.uncertainty is None else enlarged(small.uncertainty, n, pixels.shape),
        None if small.details is None else small.details.enlarged(n, pixels.shape),
    )


DEFAULT_TASK = "contaminant"
"""What is looked for where neither task nor method is given."""


def segmenter(method: str | None = None, task: str | None = None) -> Method:
    """The method of that name, else the best that comes with the package for the task. Raises MicrotomoError for a
    method or task that is not for micrographs, and a method of another task."""
    chosen = get_method(method, task) if method else best_shipped(get_task(task or DEFAULT_TASK).name)
    if get_task(chosen.task).input != "micrograph":
        raise MicrotomoError(
            f"method {chosen.name!r} is for task {chosen.task}, not for micrographs: use `microtomo reconstruct`"
        )
    return chosen


def preparation_of(task: Task) -> Preparation:
    """How the images of a task are prepared."""
    if task.preparation is None:
        raise MicrotomoError(f"task {task.name} does not say how its images are prepared: give it a Preparation")
    return task.preparation


def working_binning(pixels: np.ndarray, preparation: Preparation) -> int:
    """The number that an image (y, x) is binned by to the task's working size."""
    side = preparation.working_side_px
    return 1 if side is None else max(1, min(pixels.shape) // side)


def given_labels(labels: np.ndarray, task: Task) -> Segmentation:
    """Labels (y, x) of a task as a segmentation that is sure of them.

    Of two classes whatever is not 0 is label 1, only 1 where the task's label images may number other things; of more,
    values are labels 0, 1, .... Where there are only 0 and 255, they are a mask of label 1. Raises MicrotomoError for
    labels that the task does not have, and values that are no whole numbers where they are told apart.
    """
    values, count = np.asarray(labels), len(task.classes)
    numbers = np.unique(values)
    if set(numbers) <= {0, 255}:
        values = values != 0
    elif task.others_labelled:
        if not np.array_equal(numbers, np.rint(numbers)):
            raise MicrotomoError("labels are whole numbers: give a label image, or a mask of 0 and 255")
        values = np.where(values < count, values, 0)
    elif count == 2:
        values = values != 0
    elif numbers[0] < 0 or numbers[-1] >= count or not np.array_equal(numbers, np.rint(numbers)):
        names = ", ".join(f"{k} {label.name}" for k, label in enumerate(task.classes))
        raise MicrotomoError(f"labels {numbers[0]:g} to {numbers[-1]:g} are not those of task {task.name} ({names})")
    whole = values.astype(np.uint8)
    probabilities = np.stack([whole == k for k in range(count)]).astype(np.float32)
    return Segmentation(whole, probabilities, "given")


def checked(image: Array, smallest_px: int = 1) -> np.ndarray:
    """The image as a float32 array (y, x). Raises MicrotomoError where it is no grey micrograph, holds nothing, or is
    smaller than ``smallest_px`` a side."""
    pixels = np.ascontiguousarray(as_tensor(image).detach().cpu().numpy(), dtype=np.float32)
    if pixels.size == 0:
        raise MicrotomoError("the image is empty: give one with pixels")
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        raise MicrotomoError("is a colour (RGB) image: export the micrograph itself as grey values, not a screenshot")
    if pixels.ndim != 2:
        raise MicrotomoError(f"a micrograph is (y, x); got shape {pixels.shape}: give one image at a time")
    if min(pixels.shape) < smallest_px:
        raise MicrotomoError(
            f"the image is {pixels.shape[0]} x {pixels.shape[1]} pixels: at least {smallest_px} x {smallest_px} are "
            "needed"
        )
    finite = np.isfinite(pixels)
    if not finite.all():
        raise MicrotomoError(
            f"{int((~finite).sum())} of {pixels.size} pixels are not finite (NaN or infinite): mend dead pixels first"
        )
    if pixels.min() == pixels.max():
        raise MicrotomoError(f"every pixel of the image is {pixels[0, 0]:g}: nothing is recorded on it")
    return pixels


def binned(image: np.ndarray, n: int) -> np.ndarray:
    """Means of n x n pixels; rows and columns that fill no whole bin are left out."""
    if n == 1:
        return image
    high, wide = image.shape[0] // n, image.shape[1] // n
    blocks = image[: high * n, : wide * n].reshape(high, n, wide, n)
    return np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))


def enlarged(image: np.ndarray, n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Each pixel as n x n, the last row and column repeated up to ``shape``: the way back from ``binned``."""
    rows, columns = (
        np.minimum(np.arange(size) // n, short - 1) for size, short in zip(shape, image.shape, strict=True)
    )
    whole: np.ndarray = image[rows[:, None], columns]
    return whole
