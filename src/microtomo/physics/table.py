"""The signal of a stack at all thicknesses and energies: solved once at nodes, then interpolated with derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import Material, Stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.nodes import electron_range_nm, thickness_nodes
from microtomo.physics.quadrature import PhaseSpace
from microtomo.physics.slabs import MOTT, Elastic, Slab, add, add_below, half_space, operators, slab
from microtomo.physics.table_cache import load_or_compute
from microtomo.physics.tensor_spline import TensorSpline
from microtomo.physics.transport import ETA, Settings, checked_energies, phase_space

Progress = Callable[[int, int], None]
"""Told after each part of a table: parts done, parts in all."""

_SETTINGS = {1: Settings(), 2: Settings(), 3: Settings(), 4: Settings(angles=6)}
_FINENESS = {1: 1.0, 2: 1.0, 3: 0.7, 4: 0.4}
"""By number of layers: a table takes seconds for two, and of one core about a minute for four, below 0.5 GB."""

_TOLERANCE = 1e-8  # of the largest value: a hundredth of what the spline adds
_MOST_ITERATIONS = 1000  # that stop what does not converge


class SignalTable:
    """Detector signal over bare substrate of a stack, by transport.

    ``energies_kev`` (e,); ``nodes`` (thicknesses [nm] of each layer, bottom to top); ``substrate_signal`` (e,), the
    signal a beam electron of the bare substrate. Outside [0, max_nm] the signal stays as at the border.
    """

    def __init__(self, stack: Stack, nodes: tuple[np.ndarray, ...], values: np.ndarray) -> None:
        self.stack = stack
        self.energies_kev = np.asarray(stack.energies_kev)
        self.nodes = nodes
        self.substrate_signal = values[(0,) * len(nodes)]
        self.spline = TensorSpline(nodes, values / self.substrate_signal)

    def __call__(self, thickness: Tensor) -> Tensor:
        """Signal (..., e, y, x) at thicknesses (..., l, y, x) [nm], float32 or float64, any device.

        Differentiable once, backward and forward. Raises MicrotomoError where the layers do not fit the stack.
        """
        self._check(thickness.shape)
        return self.spline(thickness)

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """Signal (e, y, x) of one array of thicknesses (l, y, x) [nm], without derivatives, on one core.

        float64 stays so, all else becomes float32. One spectrum serves a run of equal pixels; a pixel's spectrum is
        the same to the bit wherever the pixel stands.
        """
        self._check(thickness.shape)
        dtype = np.float64 if thickness.dtype == np.float64 else np.float32
        points = np.ascontiguousarray(thickness, dtype=dtype).reshape(len(self.nodes), -1)
        starts = np.flatnonzero(np.append(True, (points[:, 1:] != points[:, :-1]).any(0)))
        terraced = 2 * len(starts) < points.shape[1]
        signal, _ = self.spline.evaluate(points[:, starts] if terraced else points)
        if terraced:
            signal = np.repeat(signal, np.diff(starts, append=points.shape[1]), axis=1)
        return signal.reshape(len(signal), *thickness.shape[-2:])

    def signal_and_slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signal (e, p) and its derivatives (l, e, p) [1/nm] at thicknesses (l, p) [nm]."""
        return self.spline.evaluate(points, slopes=True)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 3 or shape[-3] != len(self.nodes):
            raise MicrotomoError(
                f"thickness has shape {tuple(shape)}; stack {self.stack.name} wants (..., {len(self.nodes)}, y, x)"
            )


def signal_table(
    stack: Stack,
    *,
    detector: BackscatterDetector = ETA,
    settings: Settings | None = None,
    fineness: float | None = None,
    elastic: Elastic | None = None,
    progress: Progress | None = None,
) -> SignalTable:
    """The table of a stack with its own energies: from this process, the user's cache, or solved now.

    ``fineness`` 2 halves the steps between nodes; ``elastic`` as in :class:`Settings`, if none are given.
    ``progress`` is called only while the table is solved.

    Raises
    ------
    MicrotomoError
        For materials without known composition, energies that transport does not cover, and a detector that sees
        nothing of the substrate at some energy.
    """
    layers = len(stack.layers)
    settings = settings or settings_of(stack, elastic or MOTT)
    return _in_process(stack, detector, settings, fineness or _FINENESS[layers], _Quiet(progress))


class _Quiet:
    """A progress callback that does not count in the key of the in-process cache."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Quiet)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=8)
def _in_process(
    stack: Stack, detector: BackscatterDetector, settings: Settings, fineness: float, progress: _Quiet
) -> SignalTable:
    energies = checked_energies(stack.energies_kev)
    nodes = tuple(
        thickness_nodes(layer.max_nm, electron_range_nm(layer.material, float(energies.min())), fineness)
        for layer in stack.layers
    )
    key = table_key(stack, nodes, detector, settings)
    shape = (*(len(n) for n in nodes), len(energies))
    values = load_or_compute(key, shape, lambda: solve_nodes(stack, nodes, detector, settings, progress))
    dark = values[(0,) * len(nodes)] <= 0
    if dark.any():
        raise MicrotomoError(
            f"the detector sees nothing of bare {stack.substrate.symbol} at {energies[dark][0]:g} keV: "
            "lower its threshold or leave this energy out"
        )
    return SignalTable(stack, nodes, values)


def table_key(
    stack: Stack, nodes: tuple[np.ndarray, ...], detector: BackscatterDetector, settings: Settings
) -> dict[str, Any]:
    """All that decides the values at the nodes, for the cache."""
    materials = (stack.substrate, *(layer.material for layer in stack.layers))
    return {
        "materials": [[sorted(m.atoms.items()), m.density_g_cm3] for m in materials],
        "energies_kev": list(stack.energies_kev),
        "nodes_nm": [n.tolist() for n in nodes],
        "detector": repr(detector),
        "settings": repr(settings),
    }


def settings_of(stack: Stack, elastic: Elastic = MOTT) -> Settings:
    """The settings of a table of this stack."""
    return replace(_SETTINGS[len(stack.layers)], elastic=elastic)


def solve_nodes(
    stack: Stack,
    nodes: tuple[np.ndarray, ...],
    detector: BackscatterDetector,
    settings: Settings,
    progress: Progress,
    absorber: bool = False,
) -> np.ndarray:
    """Signal a beam electron at all combinations of nodes: (n_1, ..., n_l, e).

    The layers below the upper one are added as matrices; with the upper one only phi at the interface is solved for,
    for all its thicknesses together. With an ``absorber`` nothing comes back from below the layers.
    """
    energies = np.asarray(stack.energies_kev)
    space = phase_space(energies, settings, detector)
    total = int(np.prod([len(n) for n in nodes[:-1]]))
    values = np.empty((total, len(nodes[-1]), len(energies)))
    with threadpool_limits(1, "blas"):
        steps = [increments(layer.material, n, space, settings) for layer, n in zip(stack.layers, nodes, strict=True)]
        bare = np.zeros((space.size, space.size)) if absorber else substrate_reflection(stack, space, settings)
        upper = UpperLayer(steps[-1], space, energies, detector)
        for k, reflection in enumerate(_reflections(steps[:-1], bare)):
            values[k] = upper.signal_on(reflection)
            progress(k + 1, total)
    return values.reshape(*(len(n) for n in nodes), len(energies))


def substrate_reflection(stack: Stack, space: PhaseSpace, settings: Settings) -> np.ndarray:
    """Reflection of the bare substrate."""
    m = stack.substrate
    return half_space(operators(m, space, settings.elastic), m.density_g_cm3)


def increments(material: Material, nodes: np.ndarray, space: PhaseSpace, settings: Settings) -> list[Slab]:
    """The slab between each two nodes; equal steps share one."""
    medium = operators(material, space, settings.elastic)
    known: dict[float, Slab] = {}
    for step in np.diff(nodes):
        if round(step, 9) not in known:
            known[round(step, 9)] = slab(medium, float(step), material.density_g_cm3)
    return [known[round(step, 9)] for step in np.diff(nodes)]


def _reflections(steps: list[list[Slab]], base: np.ndarray) -> Iterator[np.ndarray]:
    """Reflection of all stacks of these layers, bottom to top, the thickness of the upper one changing first."""
    if not steps:
        yield base
        return
    yield from _reflections(steps[1:], base)
    for step in steps[0]:
        base = add_below(step, base)
        yield from _reflections(steps[1:], base)


class UpperLayer:
    """The uppermost layer at all its nodes, on anything that reflects."""

    def __init__(
        self, steps: list[Slab], space: PhaseSpace, energies_kev: np.ndarray, detector: BackscatterDetector
    ) -> None:
        rows, response = space.evaluation(energies_kev, detector.cosine), detector.weights(space)
        self.rows, self.response = rows, response
        self.reflection = np.empty((len(steps), space.size, space.size))
        self.entering = np.empty((len(steps), space.size))
        self.own = np.empty((len(steps), len(rows)))
        self.leaving = np.empty((len(steps), *rows.shape))
        whole = steps[0]
        for i, step in enumerate(steps):
            whole = add(step, whole) if i else step
            self.reflection[i] = whole.reflection
            self.entering[i] = whole.transmission @ response
            self.own[i] = rows @ (whole.reflection @ response)
            self.leaving[i] = rows @ whole.transmission
        self.before: list[np.ndarray] = [self.entering, self.entering]

    def signal_on(self, reflection: np.ndarray) -> np.ndarray:
        """Signal (1 + i, e) at all thicknesses, 0 first."""
        down = self.entering_below(reflection)
        below = np.einsum("ien,in->ie", self.leaving, down[1:] @ reflection.T)
        return np.concatenate([[self.rows @ (reflection @ self.response)], self.own + below])

    def entering_below(self, reflection: np.ndarray) -> np.ndarray:
        """phi- below the layer (1 + i, n), thickness 0 first: phi- = T w + R R_b phi- by iteration.

        It begins at the line through the last two solutions, since thicknesses below change step by step.
        """
        down = 2 * self.before[-1] - self.before[-2]
        limit = _TOLERANCE * np.abs(self.entering).max()
        for _ in range(_MOST_ITERATIONS):
            up = down @ reflection.T
            better = self.entering + np.matmul(self.reflection, up[:, :, None])[:, :, 0]
            change = np.abs(better - down).max()
            down = better
            if change < limit:
                break
        self.before = [self.before[-1], down]
        return np.concatenate([[self.response], down])
