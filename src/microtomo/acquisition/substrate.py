"""Bare substrate in a recorded stack: where it is, and the gain of the detector at each energy that it tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtomo.acquisition.bare_tiles import bare_tiles
from microtomo.acquisition.spectra import spectra_of
from microtomo.acquisition.tiles import tile_side
from microtomo.errors import MicrotomoError
from microtomo.physics.forward import ForwardModel

_EVEN = 1.6  # scatter inside a tile over that of the most even quarter of the tiles
_SAME = 1.6  # distance of two groups of tiles over that of two tiles of one group
_SHARE = 0.004  # of the tiles that a group must have
_MISFIT = 0.006  # relative, root mean square over the energies
_EQUAL = 0.0003  # misfits that noise may swap
_GIVE = "give its rows and columns with --substrate"


@dataclass(frozen=True)
class Substrate:
    """Bare substrate: ``mask`` (y, x); ``gain`` (e,) counts that it gives; ``gain_error`` (e,) the relative standard
    deviation of that; ``misfit`` is how far the spectra of the image, divided by it, are from those that the stack can
    give (relative, root mean square); ``given`` says whether the user named the region."""

    mask: np.ndarray
    gain: np.ndarray
    gain_error: np.ndarray
    misfit: float
    given: bool

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns that hold it."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def given_substrate(images: np.ndarray, rows: slice, columns: slice, forward: ForwardModel) -> Substrate:
    """Substrate that the user names, in registered images (e, y, x) with the dark level subtracted.

    Raises MicrotomoError for a region outside of the images or one that is not brighter than the dark level.
    """
    mask = np.zeros(images.shape[1:], bool)
    mask[rows, columns] = True
    if not mask.any():
        raise MicrotomoError(
            f"the substrate region {_region(rows)},{_region(columns)} holds no pixel of the {images.shape[1]} x "
            f"{images.shape[2]} field that all images show: {_GIVE} inside it"
        )
    groups = _groups(images)
    gain = _gain(images, mask)
    misfit = _misfit(groups[0], groups[1], gain, forward) if len(groups[0]) else float("nan")
    return Substrate(mask, gain, _error(images, mask, gain), misfit, given=True)


def find_substrate(images: np.ndarray, forward: ForwardModel) -> Substrate:
    """The bare substrate in registered images (e, y, x) with the dark level subtracted.

    The gain of the detector is unknown at every energy, so that a spectrum alone says nothing: only ratios of spectra
    do. The image is cut into tiles; tiles without an edge in them are grouped by their spectra; and each group in turn
    is taken for the substrate. That one is it which makes the spectra of all groups, divided by its own, lie nearest to
    spectra that some thicknesses of the stack give by the attenuation model: with gold, say, taken for silicon, the
    silicon beside it comes out darker than anything can be, and with aluminium on silicon taken for it as if it were
    under a breath of gold: layers below 3 % of their range are not believed. Among groups that do equally well the
    largest is taken. A layer of one thickness all over, with bare substrate nowhere, cannot be told from a gain where
    it has next to no contrast or is very thin (aluminium on silicon, a nanometre of gold).

    Raises MicrotomoError where no region is even, where there is but one kind of region (nothing tells a gain from a
    layer then), and where no choice explains the image: no substrate is visible.
    """
    spectra, sizes, labels, tile = _groups(images)
    if not len(spectra):
        raise MicrotomoError(f"no even region was found that could be bare substrate: {_GIVE}")
    if len(spectra) == 1:
        raise MicrotomoError(
            f"the whole image looks alike, so that nothing tells bare substrate from a layer: {_GIVE} if it is in "
            "view, else scan a field that shows it"
        )
    misfits = [_misfit(spectra, sizes, gain, forward, without=i) for i, gain in enumerate(spectra)]
    equal = np.flatnonzero(np.asarray(misfits) <= min(misfits) + _EQUAL)
    best = int(equal[np.argmax(sizes[equal])])
    if misfits[best] > _MISFIT:
        raise MicrotomoError(
            f"no substrate is visible: whichever region is taken for it, the others differ by {misfits[best]:.1%} from "
            f"anything that stack {forward.stack.name} can give (forward model {forward.name}): {_GIVE}, name the "
            "right --stack, or scan a field that shows it"
        )
    high, wide = (n * tile for n in labels.shape)
    means = images[:, :high, :wide].reshape(len(images), labels.shape[0], tile, -1, tile).mean((2, 4), dtype=float)
    bare = bare_tiles(means, labels == best, forward)
    mask = np.zeros(images.shape[1:], bool)
    mask[:high, :wide] = bare.repeat(tile, 0).repeat(tile, 1)
    gain = _gain(images, mask)
    return Substrate(mask, gain, _error(images, mask, gain), misfits[best], given=False)


def _groups(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Spectra (g, e) of groups of even tiles that look alike, their sizes in tiles, the group of each tile (-1: none)
    and the length of a tile [pixels]."""
    from scipy.ndimage import binary_dilation

    tile = tile_side(images.shape)
    high, wide = (n // tile for n in images.shape[1:])
    labels = np.full((high, wide), -1)
    if not high or not wide:
        return np.empty((0, len(images))), np.empty(0), labels, tile
    cut = images[:, : high * tile, : wide * tile].astype(float)
    quarters = cut.reshape(len(cut), high, 2, tile // 2, wide, 2, tile // 2).mean((3, 6))  # e, tile, 2, tile, 2
    means = quarters.mean((2, 4))
    relative = quarters / np.where(means == 0, 1, means)[:, :, None, :, None] - 1
    scatter = (relative**2).sum((2, 4)) / 3  # (e, tile, tile): variance of a quarter
    usual = np.maximum(np.quantile(scatter, 0.25, axis=(1, 2), keepdims=True), 1e-12)
    roughness = (scatter / usual).mean(0)
    even = roughness <= _EVEN * np.quantile(roughness, 0.1)
    if not even.any() or (means <= 0).any():
        return np.empty((0, len(images))), np.empty(0), labels, tile
    spread = np.sqrt(np.maximum(scatter[:, even].mean(1), 1e-12) / 4)  # of a tile, from its quarters
    logs = np.log(np.where(even, means, 1)) / spread[:, None, None] / np.sqrt(2 * len(images))
    numbers = _alike(logs, even, 1.0)
    fine, most = np.full_like(labels, -1), 0
    for group in range(numbers.max() + 1):
        # layers with hardly any contrast show only in means over more tiles
        inner, averaged = _averaged(logs, numbers == group)
        parts = _alike(averaged, inner, 3.0)
        fine[parts >= 0] = parts[parts >= 0] + most
        most += max(int(parts.max()) + 1, 0)
        if not inner.any():
            fine[numbers == group], most = most, most + 1
    least = max(3, _SHARE * high * wide)
    kept = [g for g in range(most) if (fine == g).sum() >= least]
    for new, old in enumerate(kept):
        labels[fine == old] = new
    for g in range(len(kept)):  # the tiles that were averaged over belong to it too
        members = labels == g
        around = binary_dilation(members, np.ones((3, 3))) & np.isin(numbers, np.unique(numbers[members]))
        labels[around & (labels < 0)] = g
    spectra = np.array([means[:, labels == g].mean(1) for g in range(len(kept))]).reshape(-1, len(images))
    return spectra, np.array([(labels == g).sum() for g in range(len(kept))]), labels, tile


def _alike(points: np.ndarray, which: np.ndarray, sharper: float) -> np.ndarray:
    """Group number of the tiles ``which`` (y, x), by ``points`` (e, y, x), where like tiles are about 1 / ``sharper``
    apart; -1 for the others."""
    from scipy.cluster.hierarchy import fcluster, linkage

    numbers = np.full(which.shape, -1)
    chosen = points[:, which].T
    numbers[which] = fcluster(linkage(chosen, "average"), _SAME / sharper, "distance") - 1 if len(chosen) > 1 else 0
    return numbers


def _averaged(points: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tiles whose eight neighbours are of the same group, and the means over these nine."""
    from scipy.ndimage import binary_erosion, uniform_filter

    inner: np.ndarray = binary_erosion(which, np.ones((3, 3)), border_value=0)
    return inner, uniform_filter(points, (0, 3, 3), mode="nearest")


def _misfit(
    spectra: np.ndarray, sizes: np.ndarray, gain: np.ndarray, forward: ForwardModel, without: int = -1
) -> float:
    """Distance of the groups' spectra over ``gain`` from what the stack can give: root mean square, by size."""
    others = np.arange(len(spectra)) != without
    if not others.any():
        return 0.0
    rest = spectra_of(forward).residual(np.log(spectra[others] / gain))
    return float(np.sqrt(np.average((rest**2).mean(1), weights=sizes[others])))


def _gain(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    gain: np.ndarray = images[:, mask].mean(1, dtype=float)
    if (gain <= 0).any():
        raise MicrotomoError(
            f"the substrate is not brighter than the dark level ({gain.min():.4g} counts after it is subtracted): "
            "check --dark and --substrate"
        )
    return gain


def _error(images: np.ndarray, mask: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Relative error of the mean; pixels between which was interpolated count as half."""
    error: np.ndarray = images[:, mask].std(1, dtype=float) / gain / np.sqrt(max(1.0, mask.sum() / 2))
    return error


def _region(part: slice) -> str:
    return f"{part.start}:{part.stop}"
