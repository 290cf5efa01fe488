"""Whether a scan is normalised as it should be, and what puts it right: gain an energy, smooth shading."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from microtomo.acquisition.spectra import Spectra, spectra_of
from microtomo.acquisition.substrate import find_substrate
from microtomo.acquisition.tiles import Tiles, tile_side, tiles_of
from microtomo.errors import MicrotomoError
from microtomo.physics.forward import ForwardModel

_FEWEST_ENERGIES, _FEWEST_TILES = 8, 60  # below them thickness explains any gain
_LIMIT, _LIMIT_NOISE = 5e-4, 0.1  # common residual that is no noise: relative, and in errors of a tile
_BETTER = 3.0  # times that a correction must lower the common residual where it does not take it below the limit
_SIGNIFICANT = 4.0  # standard errors that a gain must differ from 1
_SHADED = 2e-3  # root mean square of a shading that is worth a correction
_PLAUSIBLE = 2.0  # largest factor: what is further off was never normalised
_DEGREE = 4  # of the polynomial of the shading
_ROUNDS, _OUTLYING = 10, 1.5  # of the robust fit, and the deviations from which a tile loses weight


@dataclass(frozen=True)
class Normalisation:
    """What was found, and what a scan is to be divided by.

    ``gain`` (e,) and ``shading`` (y, x), ones where nothing is to be done; ``before`` and ``after``: root mean square
    over the energies of the residual that all even regions share; ``error``: relative standard deviation of a gain that
    was applied. ``state``: ``right``, ``corrected``, ``uncertain``
    (something is wrong, and no correction is certain) or ``unknown`` (too little to judge by).
    """

    state: str
    gain: np.ndarray
    shading: np.ndarray
    before: float
    after: float
    error: float = 0.0

    @property
    def text(self) -> str:
        """What was found and done, in a sentence."""
        if self.state == "right":
            return "the normalisation is right"
        if self.state == "unknown":
            return "too few even regions or energies to check the normalisation by"
        if self.state == "uncertain":
            what = f"the even regions share a residual of {self.before:.2%} that no gain or shading explains"
            return f"{what}: the scan is left as it is"
        parts = []
        if np.ptp(self.gain) or self.gain[0] != 1:
            parts.append(f"divided by gains of {self.gain.min():.3f} to {self.gain.max():.3f}, those of bare substrate")
        if np.ptp(self.shading):
            parts.append(f"by a smooth shading of {self.shading.min():.3f} to {self.shading.max():.3f}")
        left = f"the residual that all regions share fell from {self.before:.2%} to {self.after:.2%}"
        return f"{' and '.join(parts)}: {left}"


def check_normalisation(images: np.ndarray, forward: ForwardModel) -> Normalisation:
    """Check a scan (e, y, x), normalised to bare substrate by whoever recorded it.

    Even regions of a right scan have spectra that the stack can give, with nothing left that they have in common. What
    they do have in common is a gain, one factor an energy, or where it changes with the place a shading. A gain
    is that of the bare substrate as :func:`microtomo.acquisition.substrate.find_substrate` finds it. A shading is a
    polynomial in the place, fitted to how bright regions of equal spectral shape are: a factor that all energies share
    leaves the shape as it is. Either is taken only where what the regions share is gone afterwards.
    """
    count = len(images)
    ones, flat = np.ones(count), np.ones(images.shape[1:])
    tiles = tiles_of(images)
    if count < _FEWEST_ENERGIES or tiles.even.sum() < _FEWEST_TILES:
        return Normalisation("unknown", ones, flat, float("nan"), float("nan"))
    spectra = spectra_of(forward)
    before = shared_residual(tiles, spectra)
    limit = _LIMIT + _LIMIT_NOISE * tiles.error
    if before <= limit:
        return Normalisation("right", ones, flat, before, before)
    trials = [_with_gain(images, tiles, forward, spectra, flat)]
    if not trials[0] or trials[0].after > limit:
        trials.append(_with_gain(images, tiles, forward, spectra, shading_of(tiles, spectra, images.shape[1:])))
    done = [t for t in trials if t is not None]
    best = min(done, key=lambda t: t.after, default=None)
    if best is None or best.after > max(limit, before / _BETTER):
        return Normalisation("uncertain", ones, flat, before, before)
    return replace(best, before=before)


def shared_residual(tiles: Tiles, spectra: Spectra) -> float:
    """Root mean square over the energies of the mean residual of the even tiles, each at its best thickness."""
    return float(np.sqrt((spectra.residual(tiles.logs).mean(0) ** 2).mean()))


def _with_gain(
    images: np.ndarray, tiles: Tiles, forward: ForwardModel, spectra: Spectra, shading: np.ndarray
) -> Normalisation | None:
    """The scan with a shading taken away, and the gain of its substrate too if it is one; None where nothing helps."""
    shaded = float(shading.std()) > _SHADED
    if not shaded:
        shading = np.ones_like(shading)
    gain, error = np.ones(len(images)), 0.0
    level = tiles.over(_at_tiles(shading, tiles))
    try:
        bare = find_substrate((images / shading).astype(np.float32) if shaded else images, forward)
    except MicrotomoError:
        bare = None
    if bare is not None:
        off = float(np.sqrt(((bare.gain - 1) ** 2).mean()))
        known = float(np.sqrt((bare.gain_error**2).mean()))
        if off > _SIGNIFICANT * known and 1 / _PLAUSIBLE < bare.gain.min() <= bare.gain.max() < _PLAUSIBLE:
            gain, error = bare.gain, known
    if not shaded and (gain == 1).all():
        return None
    after = shared_residual(level.over(gain[:, None, None]), spectra)
    return Normalisation("corrected", gain, shading, float("nan"), after, error)


def shading_of(tiles: Tiles, spectra: Spectra, shape: tuple[int, ...]) -> np.ndarray:
    """The smooth factor (y, x) that all energies share, about 1.

    Each even tile has the thickness that fits the shape of its spectrum; how much brighter it is than that says where
    it stands in the shading, apart from a constant for all tiles of one thickness, which a gain may give.
    """
    flat = spectra.without_level()
    logs = tiles.logs
    number, step = flat.nearest(logs - logs.mean(1, keepdims=True))
    bright = (logs - spectra.at(number, step)).mean(1)
    terms = _terms(*tiles.even.shape)[:, tiles.even]
    groups = np.unique(number, return_inverse=True)[1]
    weight = np.ones(len(bright))
    coefficients = np.zeros(len(terms))
    for _ in range(_ROUNDS):
        within = np.stack([_within(values, groups, weight) for values in (bright, *terms)])
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq((within[1:] * root).T, within[0] * root, rcond=1e-6)[0]
        rest = np.abs(within[0] - coefficients @ within[1:])
        usual = max(float(np.median(rest)) / 0.67449, 1e-9)
        weight = np.minimum(1, _OUTLYING * usual / np.maximum(rest, 1e-12))
    shading: np.ndarray = np.exp(np.tensordot(coefficients, _terms(*shape), 1))
    shading /= shading.mean()
    return shading


def _within(values: np.ndarray, groups: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Values (t,) less the weighted mean of their group."""
    mean = np.bincount(groups, weight * values) / np.bincount(groups, weight)
    rest: np.ndarray = values - mean[groups]
    return rest


def _terms(height: int, width: int) -> np.ndarray:
    """Monomials (m, y, x) up to the degree of the shading, without the constant, of places -1 .. 1."""
    y, x = (np.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in (height, width))
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i) if i + j]
    return np.stack([y[:, None] ** i * x**j for i, j in powers])


def _at_tiles(field: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Means (h, w) of a field (y, x) over the tiles."""
    high, wide = tiles.even.shape
    side = tile_side(field.shape)
    means: np.ndarray = field[: high * side, : wide * side].reshape(high, side, wide, side).mean((1, 3))
    return means
