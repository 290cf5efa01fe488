"""Which tiles of a region taken for substrate are bare: layers with hardly any contrast hide in it."""

from __future__ import annotations

import numpy as np

from microtomo.physics.forward import ForwardModel

_LAYER = 0.2  # of the range of a layer: the thickness that is looked for
_ALIKE = 0.05  # of that thickness: what differs less is the same, whatever the noise
_MODE = 0.15  # of the highest: what counts as a mode and not as a few odd tiles


def bare_tiles(means: np.ndarray, among: np.ndarray, forward: ForwardModel) -> np.ndarray:
    """Those tiles ``among`` (y, x) that have least of every layer, by the mean signals ``means`` (e, y, x) of tiles.

    A thin layer of aluminium on silicon changes each image by less than the noise of a tile, but all of them along the
    direction that the forward model gives; along it, tiles fall apart into modes, and bare ones are in
    the lowest. Where a tile stands is averaged over its neighbours. Tiles on both sides of the mode are left out
    alike, so that the mean of the rest is not biased.
    """
    import torch

    only = torch.diag(torch.tensor(forward.stack.max_nm, dtype=torch.float64) * _LAYER)[:, :, None]
    directions = forward(only)[:, :, 0].log().numpy().T  # (l, e)
    kept: np.ndarray = among.copy()
    for direction in [*directions, *directions]:
        logs = np.log(means / means[:, kept].mean(1)[:, None, None])
        share = np.tensordot(direction, logs, 1) / (direction @ direction)
        lowest = _lowest_mode(share, kept)
        if lowest.sum() < 3:
            return among
        kept = lowest
    return kept


def _lowest_mode(share: np.ndarray, among: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    pairs = [
        (share[1:], share[:-1], among[1:] & among[:-1]),
        (share[:, 1:], share[:, :-1], among[:, 1:] & among[:, :-1]),
    ]
    steps = np.concatenate([(a - b)[both] for a, b, both in pairs])
    if not len(steps):
        return among
    own = max(float(np.median(np.abs(steps))) / 0.67449 / np.sqrt(2), 1e-9)  # noise of one tile
    count = np.maximum(9 * uniform_filter(among.astype(float), 3, mode="constant"), 1)
    mean = 9 * uniform_filter(np.where(among, share, 0.0), 3, mode="constant") / count
    noise = np.maximum(own / np.sqrt(count), _ALIKE)
    at, wide = mean[among], noise[among]
    places = np.arange(at.min(), at.max() + wide.min(), wide.min() / 4)
    density = (np.exp(-0.5 * ((places[:, None] - at) / wide) ** 2) / wide).sum(1)
    higher = np.diff(density, prepend=0, append=0)
    modes = places[(higher[:-1] > 0) & (higher[1:] <= 0) & (density > _MODE * density.max())]
    near: np.ndarray = among & (np.abs(mean - modes[0]) < 2 * noise)
    near &= np.abs(share - modes[0]) < 3 * max(own, _ALIKE)
    return near
