"""Signals of films of known thickness as functions of what an instrument leaves open, with derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.cross_sections import HIGHEST_KEV
from microtomo.physics.slabs import MOTT, Elastic, Slab, add_below, change_with_thickness, half_space, operators, slab
from microtomo.physics.transport import LOWEST_BEAM_KEV, Settings, into, phase_space

LARGEST_OFFSET_KEV = 1.0
"""How far the true beam energy may be from the nominal one."""

_STEP_KEV, _STEP_SLOPE = 0.01, 0.01  # of central differences; the signal is smooth over a hundred times as much


@dataclass(frozen=True)
class Instrument:
    """What a calibration varies: the detector, true minus nominal beam energy [keV], and the density of each layer,
    bottom to top, in units of that of the stack."""

    detector: BackscatterDetector
    energy_offset_kev: float
    densities: tuple[float, ...]


@dataclass(frozen=True)
class Logarithms:
    """Logarithm of the signal over bare substrate of films (f, e), and its derivatives (f, e) by threshold [1/keV],
    slope, energy offset [1/keV] and (l, f, e) by the logarithm of each layer's density."""

    signal: np.ndarray
    by_threshold: np.ndarray
    by_slope: np.ndarray
    by_offset: np.ndarray
    by_density: np.ndarray


class Films:
    """Films of a stack's layers, each of known thickness, seen by transport.

    A film of another density is one of another thickness: only density times thickness counts.
    ``thickness`` is (l, f) [nm]; the exit angles and the tilt of ``detector`` decide the resolution.

    Raises MicrotomoError for materials without known composition and for energies that transport does not cover.
    """

    def __init__(
        self, stack: Stack, thickness: np.ndarray, detector: BackscatterDetector, elastic: Elastic = MOTT
    ) -> None:
        energies = np.asarray(stack.energies_kev)
        lowest, highest = LOWEST_BEAM_KEV + LARGEST_OFFSET_KEV, HIGHEST_KEV - LARGEST_OFFSET_KEV
        if energies.min() < lowest or energies.max() > highest:
            raise MicrotomoError(
                f"beam energies {energies.min():g}..{energies.max():g} keV: a calibration takes {lowest:g} to "
                f"{highest:g} keV, since the true energy may be {LARGEST_OFFSET_KEV:g} keV off: leave out the others"
            )
        self.stack, self.thickness, self.elastic, self.energies_kev = stack, thickness, elastic, energies
        ends = np.array([energies.min(), energies.max() + LARGEST_OFFSET_KEV])
        self.space = phase_space(ends, Settings(elastic=elastic), detector)
        with threadpool_limits(1, "blas"):
            self.media = [operators(layer.material, self.space, elastic) for layer in stack.layers]
            bare = stack.substrate
            self.bare = half_space(operators(bare, self.space, elastic), bare.density_g_cm3)
        self._solved: tuple[tuple[float, ...], list[tuple[list[Slab], list[np.ndarray]]]] = ((), [])

    def logarithms(self, instrument: Instrument) -> Logarithms:
        """Log-signals and derivatives; solving anew costs some tenths of a second a film where densities changed."""
        detector, offset = instrument.detector, instrument.energy_offset_kev
        weights = detector.weights(self.space)
        rows = self.space.evaluation(self.energies_kev + offset, detector.cosine)
        with threadpool_limits(1, "blas"):
            films = self._films(instrument.densities)
            reflections = [self.bare, *(below[-1] for _, below in films)]
            up = np.stack([r @ weights for r in reflections])
            signal = up @ rows.T
            threshold = self._difference(detector, "threshold_kev", _STEP_KEV)
            slope = self._difference(detector, "slope", _STEP_SLOPE)
            by_threshold, by_slope = (np.stack([r @ w for r in reflections]) @ rows.T for w in (threshold, slope))
            ends = [
                self.space.evaluation(self.energies_kev + offset + h, detector.cosine) for h in (-_STEP_KEV, _STEP_KEV)
            ]
            by_offset = up @ ((ends[1] - ends[0]) / (2 * _STEP_KEV)).T
            by_density = np.zeros((len(self.media), len(films), len(self.energies_kev)))
            for f, film in enumerate(films):
                by_density[:, f] = self._by_density(film, f, rows, weights, instrument.densities)

        def relative(change: np.ndarray) -> np.ndarray:
            return np.asarray(change[1:] / signal[1:] - change[0] / signal[0])

        return Logarithms(
            np.log(signal[1:] / signal[0]),
            relative(by_threshold),
            relative(by_slope),
            relative(by_offset),
            by_density / signal[1:],
        )

    def _difference(self, detector: BackscatterDetector, name: str, step: float) -> np.ndarray:
        """Derivative of the detector's weights by one of its values; nothing for a detector that counts."""
        if detector.response == "counts":
            return np.zeros(self.space.size)
        value = getattr(detector, name)
        low, high = max(value - step, 0.0), value + step
        ends = [replace(detector, **{name: v}).weights(self.space) for v in (low, high)]
        return np.asarray((ends[1] - ends[0]) / (high - low))

    def _films(self, densities: Sequence[float]) -> list[tuple[list[Slab], list[np.ndarray]]]:
        """Slabs of every film, bottom to top, and the reflections below each and of all; kept for the next call."""
        if self._solved[0] != tuple(densities):
            known: dict[tuple[int, float], Slab] = {}
            films = []
            for film in self.thickness.T:
                slabs, below = [], [self.bare]
                for k in np.flatnonzero(film).tolist():
                    material, nm = self.stack.layers[k].material, float(film[k]) * densities[k]
                    if (k, nm) not in known:
                        known[k, nm] = slab(self.media[k], nm, material.density_g_cm3)
                    slabs.append(known[k, nm])
                    below.append(add_below(slabs[-1], below[-1]))
                films.append((slabs, below))
            self._solved = (tuple(densities), films)
        return self._solved[1]

    def _by_density(
        self,
        film: tuple[list[Slab], list[np.ndarray]],
        number: int,
        rows: np.ndarray,
        down: np.ndarray,
        densities: Sequence[float],
    ) -> np.ndarray:
        """Derivative (l, e) of the signal a beam electron by the logarithm of each density."""
        result = np.zeros((len(self.media), len(rows)))
        slabs, below = film
        present = np.flatnonzero(self.thickness[:, number])
        for at in reversed(range(len(present))):
            k = present[at]
            change = rows @ change_with_thickness(self.media[k], below[at + 1], down)
            result[k] = change * self.thickness[k, number] * densities[k]
            rows, down = into(slabs[at], below[at], rows, down)
        return result
