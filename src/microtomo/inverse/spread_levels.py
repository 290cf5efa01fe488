"""Levels of thickness, and the width of the kernels, through lateral spread: where each level is, is held.

A solver that takes the surroundings as given sees what a pixel's own films do to its signal, not what they do to the
others'. Where all levels move together, say by an even film over the whole field, the two nearly cancel, and rounds of
solver and surroundings come closer by a few per cent each. Levels are few: Gauss and Newton's method through the spread
itself moves them, all at once, to where the misfit is least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from microtomo.inverse.misfit import NOISE_FLOOR
from microtomo.physics.spread_model import SpreadModel
from microtomo.physics.surroundings import Surroundings

KERNEL_DEVIATION = 0.15
"""Standard deviation of the logarithm of the kernels' width before the scan is seen: exit radii by Mott's and by
Browning's cross-sections differ by more than this in silicon at 10 keV, codes with the same cross-sections by a few
per cent."""
_MOST_WIDTH = 0.35  # of that logarithm: two and a third deviations
_WIDTH_STEP = 0.05  # of that logarithm: a difference that the kernels' own noise, 1 % of a radius, does not drown

MOST_LEVELS = 60
"""Of all layers together, above which thickness counts as continuous."""
_ENERGIES = 8  # at most: levels of thousands of pixels need no more
_COARSE = 64  # pixels along a side on which the response of the surroundings is smooth enough
_ASTRAY = 2.0  # mean squared residual in units of the noise from which on a pixel counts less
_STEP = 1 / 300  # of the range, for slopes
_STRIDE = 0.15  # of the range: the longest step
_DAMPING = (1e-3, 10.0, 1e2)  # first, its growth after a step that fails, and the last that is tried


@dataclass(frozen=True)
class Levels:
    """Thickness (l, y, x) [nm] with its levels moved; ``width``: logarithm of the factor that fits the kernels' radii,
    and ``width_deviation`` its standard deviation; ``deviation`` (l, y, x) [nm] is that of the levels, correlated."""

    thickness: np.ndarray
    width: float
    width_deviation: float
    deviation: np.ndarray


class LevelFit:
    """The fit of levels to one scan (e, y, x) with a relative noise level."""

    def __init__(self, observed: np.ndarray, spread: SpreadModel, noise: float) -> None:
        every = -(-len(spread.energies_kev) // _ENERGIES)
        self._kernels = spread.kernels.at(spread.energies_kev[::every])
        self._spread = spread.with_energies(spread.energies_kev[::every])
        self._observed, self._noise = observed[::every].astype(np.float64), max(noise, NOISE_FLOOR)
        self._top = np.array(spread.stack.max_nm)
        self._size = max(1, min(observed.shape[1:]) // _COARSE)
        self._smooth = replace(self._spread, pixel_nm=spread.pixel_nm * self._size).operator

    def __call__(self, thickness: np.ndarray, width: float, *, free_width: bool, steps: int = 4) -> Levels | None:
        """The levels of ``thickness`` where the misfit is least, None where they are too many to be levels."""
        thickness = np.asarray(thickness, dtype=np.float32)
        axes = [np.unique(layer, return_inverse=True) for layer in thickness]
        if sum(len(values) for values, _ in axes) > MOST_LEVELS:
            return None
        places = [index.reshape(thickness.shape[1:]) for _, index in axes]
        at = [values.astype(np.float64) for values, _ in axes]
        labels = [(k, i) for k, values in enumerate(at) for i, value in enumerate(values) if value > 0]
        damping, growth, most = _DAMPING
        given, signal = Surroundings.of(self._widened(width), thickness)
        for _ in range(steps):
            residual = self._observed / signal - 1
            weight = np.minimum(1, _ASTRAY * self._noise**2 / np.maximum((residual**2).mean(0), 1e-12))
            slopes = self._slopes(given, thickness, signal, places, labels, width if free_width else None)
            fisher, pull = self._normal(slopes, residual, weight, labels, width)
            cost = self._cost(residual, weight, width)
            while damping <= most:
                move = np.linalg.solve(fisher + damping * np.diag(np.diag(fisher)), pull)
                trial, wide = self._moved(at, labels, move, width)
                films = np.stack([values[place] for values, place in zip(trial, places, strict=True)]).astype(
                    np.float32
                )
                given, signal = Surroundings.of(self._widened(wide), films)
                if (less := self._cost(self._observed / signal - 1, weight, wide)) < cost:
                    break
                damping *= growth
            else:
                break
            at, thickness, width, damping = trial, films, wide, damping / growth
            if cost - less < 1:
                break
        return self._result(thickness, width, fisher, labels, places, free_width)

    def _result(
        self, thickness: np.ndarray, width: float, fisher: np.ndarray, labels: list[tuple[int, int]],
        places: list[np.ndarray], free_width: bool,
    ) -> Levels:  # fmt: skip
        variance = np.diag(np.linalg.inv(fisher))
        deviation = np.zeros(thickness.shape)
        for (k, i), value in zip(labels, variance, strict=False):
            deviation[k][places[k] == i] = np.sqrt(value)
        return Levels(thickness, width, float(np.sqrt(variance[-1])) if free_width else 0.0, deviation)

    def _widened(self, width: float) -> SpreadModel:
        return self._spread.with_kernels(self._kernels.scaled(float(np.exp(width))))

    def _cost(self, residual: np.ndarray, weight: np.ndarray, width: float) -> float:
        squares = float((weight * (residual**2).sum(0)).sum())
        return (squares / self._noise**2 + (width / KERNEL_DEVIATION) ** 2) / 2

    def _slopes(
        self, given: Surroundings, thickness: np.ndarray, signal: np.ndarray, places: list[np.ndarray],
        labels: list[tuple[int, int]], width: float | None,
    ) -> np.ndarray:  # fmt: skip
        """Slopes (c, e * y * x) of ln I by the levels, and last by the logarithm of the width where it is given."""
        others, slopes = given.through_others(thickness), np.empty((len(labels), *signal.shape), np.float32)
        physics, kernels = given.spread.operator.physics, given.spread.kernels
        steps = _STEP * self._top

        def out(films: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                there: np.ndarray = physics.way_out(torch.from_numpy(films), kernels.exit_kev, kernels.share).numpy()
            return there

        here, found = given.signal(thickness), out(thickness)
        for k, step in enumerate(steps):
            thicker = thickness.copy()
            thicker[k] += step
            alone, elsewhere = (given.signal(thicker) - here) / step, (out(thicker) - found) / step
            for c, (layer, i) in enumerate(labels):
                if layer == k:
                    there = places[k] == i
                    slopes[c] = (alone * there + others * self._spread_out(elsewhere * there)) / signal
        if width is None:
            return slopes.reshape(len(slopes), -1)
        wider = Surroundings.of(self._widened(width + _WIDTH_STEP), thickness)[1]
        last = (wider / signal - 1)[None] / _WIDTH_STEP
        return np.concatenate([slopes, last.astype(np.float32)]).reshape(len(slopes) + 1, -1)

    def _spread_out(self, field: np.ndarray) -> np.ndarray:
        """A field (e, y, x) as electrons on their way out find it, on coarse pixels: the kernels smooth it anyway."""
        size, (height, width) = self._size, field.shape[1:]
        y, x = (np.minimum(np.arange(n) // size, n // size - 1) for n in (height, width))
        whole = field[:, : height // size * size, : width // size * size]
        coarse = whole.reshape(len(field), height // size, size, width // size, size).mean((2, 4))
        with torch.no_grad():
            return np.asarray(self._smooth.smoothed(torch.from_numpy(coarse).float()).numpy()[:, y[:, None], x])

    def _normal(
        self, slopes: np.ndarray, residual: np.ndarray, weight: np.ndarray, labels: list[tuple[int, int]], width: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Information matrix and right side of Gauss and Newton's step, with flat priors of the ranges."""
        weights = (np.broadcast_to(weight, residual.shape) / self._noise**2).reshape(-1).astype(np.float32)
        fisher = (slopes * weights) @ slopes.T.astype(np.float64)
        pull = (slopes * weights) @ residual.reshape(-1)
        prior = [12 / self._top[k] ** 2 for k, _ in labels]
        if len(slopes) > len(labels):
            prior.append(KERNEL_DEVIATION**-2)
            pull[-1] -= width * prior[-1]
        return fisher + np.diag(prior), pull

    def _moved(
        self, at: list[np.ndarray], labels: list[tuple[int, int]], move: np.ndarray, width: float
    ) -> tuple[list[np.ndarray], float]:
        """Levels [nm] and width after a step, within their ranges."""
        trial = [values.copy() for values in at]
        for (k, i), step in zip(labels, move, strict=False):
            top = self._top[k]
            trial[k][i] = np.clip(trial[k][i] + np.clip(step, -_STRIDE * top, _STRIDE * top), _STEP * top, top)
        if len(move) > len(labels):
            width = float(np.clip(width + move[-1], -_MOST_WIDTH, _MOST_WIDTH))
        return trial, width
