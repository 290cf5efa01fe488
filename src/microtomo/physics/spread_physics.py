"""What lateral spread needs of a stack's physics, by transport: films alone, and electrons that come up from below."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from microtomo.materials import Stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.slabs import MOTT, Elastic, Slab, product, solve
from microtomo.physics.table import (
    Progress,
    SignalTable,
    UpperLayer,
    increments,
    settings_of,
    signal_table,
    solve_nodes,
    substrate_reflection,
    table_key,
)
from microtomo.physics.table_cache import load_or_compute
from microtomo.physics.tensor_spline import TensorSpline
from microtomo.physics.transport import ETA, Settings, phase_space

_KEPT = 16  # tables of ways out: an image has two of each kernel


class SpreadPhysics:
    """The signal of a stack taken apart by where electrons turn round; in signal over bare substrate throughout.

    ``elastic`` are the cross-sections in use.
    Tables over the nodes of the stack's :class:`SignalTable`, from the user's cache or solved now (some seconds each).
    Raises MicrotomoError as :func:`microtomo.physics.table.signal_table`.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        detector: BackscatterDetector = ETA,
        elastic: Elastic = MOTT,
        settings: Settings | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        settings = settings or settings_of(stack, elastic)
        self.elastic = settings.elastic
        self.signal: SignalTable = signal_table(stack, detector=detector, settings=settings, progress=progress)
        self._space = phase_space(self.signal.energies_kev, settings, detector)
        self._films = [self._films_table(stack, lowest, detector, settings, progress) for lowest in (0, 1)]
        nodes = self.signal.nodes
        key = {**table_key(stack, nodes, detector, settings), "quantity": "emission"}
        shape = (*(len(n) for n in nodes), len(self._space.energies))
        emission = load_or_compute(key, shape, lambda: solve_emission(stack, nodes, detector, settings, progress))
        self._emission_values, self._emission = emission, TensorSpline(nodes, emission)
        self._ways_out: dict[tuple[bytes, bytes], TensorSpline] = {}

    def total(self, thickness: Tensor) -> Tensor:
        """Signal (..., e, y, x) of the whole stack at thicknesses (..., l, y, x) [nm]."""
        return self.signal(thickness)

    def films(self, thickness: Tensor, lowest: int) -> Tensor:
        """Signal (..., e, y, x) of the films from ``lowest`` (0 or 1) upward, over something that sends nothing back;
        thickness (..., l, y, x) [nm] of all films."""
        spline = self._films[lowest]
        if spline is None:
            return thickness.new_zeros((*thickness.shape[:-3], len(self.signal.energies_kev), *thickness.shape[-2:]))
        return spline(thickness[..., lowest:, :, :])

    def emission(self, thickness: Tensor, exit_kev: Tensor) -> Tensor:
        """Signal (..., e, b, y, x) of one electron that comes up from the substrate at ``exit_kev`` (e, b), from all
        directions by their cosine; what films send back and the substrate returns counts.

        In the solution's terms phi-, averaged, where the films lie on the substrate: (1 - R_f R_s)^-1 T_f w.
        """
        rows = self._space.between_energies(exit_kev.detach().cpu().double().numpy().ravel())
        rows = rows.reshape(*exit_kev.shape, -1) / self.signal.substrate_signal[:, None, None]
        nodes = self._emission(thickness)
        return torch.einsum("ebg,...gyx->...ebyx", torch.as_tensor(rows).to(nodes), nodes)

    def way_out(self, thickness: Tensor, exit_kev: np.ndarray, weights: np.ndarray) -> Tensor:
        """Weighted sum (..., e, y, x) over the exit energies (e, b) of :meth:`emission`, by a table of its own."""
        key = (exit_kev.tobytes(), weights.tobytes())
        if key not in self._ways_out:
            rows = self._space.between_energies(exit_kev.ravel()).reshape(*exit_kev.shape, -1)
            rows = np.einsum("eb,ebg->eg", weights, rows) / self.signal.substrate_signal[:, None]
            while len(self._ways_out) >= _KEPT:
                self._ways_out.pop(next(iter(self._ways_out)))
            self._ways_out[key] = TensorSpline(self.signal.nodes, self._emission_values @ rows.T)
        return self._ways_out[key](thickness)

    def _films_table(
        self, stack: Stack, lowest: int, detector: BackscatterDetector, settings: Settings, progress: Progress
    ) -> TensorSpline | None:
        if lowest >= len(stack.layers):
            return None
        part, nodes = stack.model_copy(update={"layers": stack.layers[lowest:]}), self.signal.nodes[lowest:]
        key = {**table_key(part, nodes, detector, settings), "quantity": "films"}
        shape = (*(len(n) for n in nodes), len(self.signal.energies_kev))
        values = load_or_compute(
            key, shape, lambda: solve_nodes(part, nodes, detector, settings, progress, absorber=True)
        )
        return TensorSpline(nodes, values / self.signal.substrate_signal)


@lru_cache(maxsize=8)
def spread_physics(stack: Stack, detector: BackscatterDetector, elastic: Elastic) -> SpreadPhysics:
    """The physics of a stack, kept in memory. Raises MicrotomoError as :class:`SpreadPhysics`."""
    return SpreadPhysics(stack, detector=detector, elastic=elastic)


def solve_emission(
    stack: Stack, nodes: tuple[np.ndarray, ...], detector: BackscatterDetector, settings: Settings, progress: Progress
) -> np.ndarray:
    """Signal of an electron that comes up from the substrate, at all combinations of nodes and at the energies of the
    phase space: (n_1, ..., n_l, g)."""
    energies = np.asarray(stack.energies_kev)
    space = phase_space(energies, settings, detector)
    total = int(np.prod([len(n) for n in nodes[:-1]]))
    values = np.empty((total, len(nodes[-1]), len(space.energies)))
    with threadpool_limits(1, "blas"):
        steps = [increments(layer.material, n, space, settings) for layer, n in zip(stack.layers, nodes, strict=True)]
        upper = UpperLayer(steps[-1], space, energies, detector)
        bare = substrate_reflection(stack, space, settings)
        for k, (reflection, way) in enumerate(_ways_down(steps[:-1], bare, np.eye(space.size))):
            coming_up = upper.entering_below(reflection) @ way.T
            values[k] = coming_up.reshape(len(coming_up), -1, space.angles) @ space.mean_over_cosine
            progress(k + 1, total)
    return values.reshape(*(len(n) for n in nodes), len(space.energies))


def _ways_down(steps: list[list[Slab]], base: np.ndarray, way: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reflection of all stacks of these layers, bottom to top, the thickness of the upper one changing first; and what
    phi- on top of each means on the substrate: with a slab on R_b, (1 - R R_b)^-1 T."""
    if not steps:
        yield base, way
        return
    yield from _ways_down(steps[1:], base, way)
    for step in steps[0]:
        shared = solve(product(step.reflection, base), step.transmission)
        base = step.reflection + product(step.transmission, product(base, shared))
        way = product(way, shared)
        yield from _ways_down(steps[1:], base, way)
