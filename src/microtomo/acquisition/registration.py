"""Bringing the images of all energies to one place, to parts of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microtomo.acquisition.pairwise import STEP, band_passed, connected, pair_shift, places
from microtomo.errors import MicrotomoError

_NEXT = 3  # neighbours in energy that each image is first compared with
_SIGNIFICANT = 6.0  # correlation over what unrelated images give
_LARGEST = 0.25  # of the field
_REACH, _SMOOTH = 0.7, 0.3  # in the logarithm of the energy: pairs that are compared, images that are averaged
_FINE, _BROAD = 1.0, 3.0  # [pixels] band that the fine search looks at
_ROUNDS, _SETTLED = 6, 0.005  # [pixels]
_LOOK = 1024  # [pixels] the middle of larger images is enough


@dataclass(frozen=True)
class Shifts:
    """Where the images stand: what image ``reference`` shows at (y, x) is at (y + dy, x + dx) in image e.

    ``pixels`` is (e, 2), dy and dx; ``error`` (e, 2) its standard deviation [pixels], from the noise of the images
    and the edges they show; ``measured`` (e,) says where a shift could be measured: elsewhere it is zero.
    """

    pixels: np.ndarray
    error: np.ndarray
    reference: int
    measured: np.ndarray

    @property
    def largest(self) -> float:
        """The largest distance from the reference [pixels]."""
        return float(np.hypot(*self.pixels.T).max())


def measure_shifts(
    images: np.ndarray, energies_kev: Sequence[float], reference: int, must_match: bool = True
) -> Shifts:
    """Shifts of the images (e, y, x), dark level subtracted, against image ``reference``.

    The contrast of a layer stack changes with the energy and may turn over from the first to the last, so images are
    compared with neighbours in energy only. First by cross-correlation (:func:`.pairs.pair_shift`)
    with the next three; pairs with no more correlation than unrelated images do not count. Then the images, moved back,
    are averaged over the energies near each to a picture with little noise, and the rest of the shift of a pair is the
    share of that picture's gradients in the difference of the two. That looks at edges only (a band of 1 to 3 pixels):
    an edge whose height changes stays where it is, while a change of broad areas would look like a shift.
    All pairs are put together by least squares.

    Raises MicrotomoError for images that match no other (unless ``must_match`` is False), for shifts beyond a quarter
    of the field, and where scikit-image is missing.
    """
    seen = _middle(images)
    count = len(seen)
    pairs, steps, weights = _coarse(seen)
    reached = connected(count, reference, pairs)
    if must_match and not reached.all():
        alone = ", ".join(f"{e:g}" for e, there in zip(energies_kev, reached, strict=True) if not there)
        raise MicrotomoError(
            f"the images at {alone} keV have nothing in common with the others that a shift could be measured from: "
            "leave them out, choose another --reference, or take the images as they stand with --no-register"
        )
    pixels = places(count, reference, pairs, steps, weights)
    shifts = Shifts(pixels, np.full_like(pixels, STEP), reference, reached)
    _check_field(shifts, images.shape[-2:], energies_kev)
    if reached.sum() > 1:
        shifts = _refined(seen, np.asarray(energies_kev, float), shifts)
        _check_field(shifts, images.shape[-2:], energies_kev)
    return shifts


def common_field(shifts: np.ndarray, shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the reference that every image shows, for shifts (e, 2) [pixels]."""
    low = np.ceil(np.maximum(0, -shifts.min(0)) - 1e-9).astype(int)
    high = np.ceil(np.maximum(0, shifts.max(0)) - 1e-9).astype(int)
    rows, columns = (slice(int(a), int(n - b)) for a, b, n in zip(low, high, shape[-2:], strict=True))
    return rows, columns


def registered(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The images (e, y, x) moved back by their shifts (e, 2) [pixels], float32, between pixels by cubic splines.

    What an image does not show repeats its edge: :func:`common_field` is free of it.
    """
    from scipy.ndimage import shift

    moved = np.empty(images.shape, np.float32)
    for e, (image, (dy, dx)) in enumerate(zip(images, shifts, strict=True)):
        moved[e] = image if dy == dx == 0 else shift(image.astype(float), (-dy, -dx), order=3, mode="nearest")
    return moved


def _coarse(images: np.ndarray) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
    filtered = [band_passed(image) for image in images]
    pairs, steps, weights = [], [], []
    for i in range(len(images)):
        for j in range(i + 1, min(i + 1 + _NEXT, len(images))):
            step, significance = pair_shift(filtered[i], filtered[j])
            if significance > _SIGNIFICANT:
                pairs.append((i, j))
                steps.append(step)
                weights.append((significance, significance))
    return pairs, np.reshape(steps, (-1, 2)), np.reshape(weights, (-1, 2))


def _refined(images: np.ndarray, energies_kev: np.ndarray, shifts: Shifts) -> Shifts:
    """The shifts once more, from the differences of images that stand nearly right."""
    chosen = np.flatnonzero(shifts.measured)
    logs, images = np.log(energies_kev[chosen]), images[chosen]
    reference = int(np.flatnonzero(chosen == shifts.reference)[0])
    near = np.exp(-0.5 * ((logs[:, None] - logs) / _SMOOTH) ** 2)
    near /= near.sum(1, keepdims=True)
    count = len(chosen)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if logs[j] - logs[i] < _REACH or j - i <= _NEXT]
    pixels, error = shifts.pixels[chosen], shifts.error[chosen]
    for _ in range(_ROUNDS):
        field = common_field(pixels, images.shape)
        edges = np.stack([band_passed(i[field], _FINE, _BROAD) for i in registered(images, pixels)])[:, 3:-3, 3:-3]
        if min(edges.shape[1:]) < 8:
            break
        edges -= edges.mean((1, 2), keepdims=True)
        smooth = np.tensordot(near, edges, 1)
        steps, weights = _steps(edges, smooth, pairs)
        more = places(count, reference, pairs, steps, weights)
        pixels, error = pixels + more, _own_errors(edges, smooth, near, reference)
        if np.abs(more).max() < _SETTLED:
            break
    all_pixels, all_error = np.zeros_like(shifts.pixels), np.zeros_like(shifts.error)
    all_pixels[chosen], all_error[chosen] = pixels, error
    return Shifts(all_pixels, all_error, shifts.reference, shifts.measured)


def _steps(edges: np.ndarray, smooth: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Remaining shift (dy, dx) of each pair and one over its error, by least squares on the gradients of the picture
    that both share and on that picture itself, for edges that grow or fade."""
    pictures = [v.reshape(len(edges), -1) for v in (*np.gradient(smooth, axis=(1, 2)), smooth)]
    flat = edges.reshape(len(edges), -1)
    steps, weights = [], []
    for i, j in pairs:
        basis = np.stack([(p[i] + p[j]) / 2 for p in pictures])
        gram = basis @ basis.T + 1e-12 * np.eye(3)
        difference = flat[j] - flat[i]
        share = np.linalg.solve(gram, basis @ difference)
        variance = float(((difference - share @ basis) ** 2).mean()) + 1e-15
        # Of noise blurred by sigma, 4 pi sigma^2 pixels have one independent value.
        spread = np.diag(np.linalg.inv(gram))[:2] * variance * 4 * np.pi * _FINE**2
        steps.append(-share[:2])
        weights.append(spread**-0.5)
    return np.asarray(steps), np.asarray(weights)


def _own_errors(edges: np.ndarray, smooth: np.ndarray, near: np.ndarray, reference: int) -> np.ndarray:
    """Standard deviation (e, 2) [pixels] of each shift against the reference, from the noise of the two images: all
    pairs of an image share that, so that their agreement says nothing about it."""
    gradients = np.stack(np.gradient(smooth, axis=(1, 2)), 1).reshape(len(edges), 2, -1)
    noise = ((edges - smooth) ** 2).mean((1, 2)) / np.maximum(1 - np.diag(near), 0.1) * 4 * np.pi * _FINE**2
    own = noise[:, None] / np.maximum((gradients**2).sum(2), 1e-15)
    error: np.ndarray = np.sqrt(own + own[reference])
    error[reference] = 0
    return error


def _check_field(shifts: Shifts, shape: Sequence[int], energies_kev: Sequence[float]) -> None:
    share = np.abs(shifts.pixels) / np.asarray(shape[-2:])
    if share.max() > _LARGEST:
        e = int(share.max(1).argmax())
        dy, dx = shifts.pixels[e]
        raise MicrotomoError(
            f"the image at {energies_kev[e]:g} keV is shifted by {dy:.1f} rows and {dx:.1f} columns against "
            f"{energies_kev[shifts.reference]:g} keV, more than a quarter of the field ({shape[-2]} x {shape[-1]}): "
            "leave that energy out, choose another --reference, or scan again"
        )


def _middle(images: np.ndarray) -> np.ndarray:
    top, left = (max(0, (n - _LOOK) // 2) for n in images.shape[-2:])
    return images[:, top : top + _LOOK, left : left + _LOOK]
