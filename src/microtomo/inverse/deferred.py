"""Deferred correction: invert a scan with lateral spread by a solver that knows the local physics only.

Subtract from the scan what the spread adds to the present estimate, solve again:

    theta = solve_local(observed - c),     c <- c + w g,     g = spread(theta) - local(theta) - c

The fixed point g = 0 explains the scan with spread. The relaxation w follows the change of g (Aitken's rule in the form
of Irons & Tuck, Int. J. Numer. Methods Eng. 1 (1969) 275), within limits, so that a kernel that is somewhat wrong does
not make the rounds swing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from microtomo.errors import MicrotomoError

_LEAST, _MOST = 0.25, 1.0  # of the relaxation: 1 is the plain correction
_PATIENCE = 3  # rounds without a better residual before the best one is taken
_BETTER = 0.99  # of the best residual: less of a gain is noise of the solver

Solver = Callable[[np.ndarray], np.ndarray]


class Status(StrEnum):
    """How a deferred correction ended."""

    CONVERGED = "converged"
    STALLED = "stalled"
    ROUNDS = "rounds used up"


@dataclass(frozen=True)
class Deferred:
    """Result of a deferred correction; scans (e, y, x), thickness (l, y, x) [nm].

    ``thickness`` is the estimate of the round with the smallest residual, ``correction`` what was subtracted from the
    scan for it. ``residuals``: rms relative misfit of observed and spread signal by round; ``relaxations`` the w used.
    ``signal_uncertainty``: what is left in the signal, from g and from the other spreads, as a standard deviation;
    ``thickness_uncertainty`` [nm]: what that does to the estimate. Both come on top of the noise.
    """

    thickness: np.ndarray
    correction: np.ndarray
    residuals: tuple[float, ...]
    relaxations: tuple[float, ...]
    status: Status
    signal_uncertainty: np.ndarray
    thickness_uncertainty: np.ndarray

    @property
    def message(self) -> str:
        """What to make of the status."""
        return {
            Status.CONVERGED: "the correction no longer changes",
            Status.STALLED: "the residual no longer falls: the kernel or the local model is somewhat off; see the "
            "uncertainty that is left",
            Status.ROUNDS: "the correction still changes: allow more rounds",
        }[self.status]


@dataclass(frozen=True)
class _Round:
    thickness: np.ndarray
    correction: np.ndarray
    change: np.ndarray
    residual: float


def deferred_correction(
    observed: np.ndarray,
    solve_local: Solver,
    spread: Callable[[np.ndarray], np.ndarray],
    local: Callable[[np.ndarray], np.ndarray],
    *,
    rounds: int = 12,
    tolerance: float = 1e-3,
    start: np.ndarray | None = None,
    other_spreads: Sequence[Callable[[np.ndarray], np.ndarray]] = (),
) -> Deferred:
    """Thickness (l, y, x) that explains a scan (e, y, x) with spread.

    ``solve_local`` takes a scan to a thickness; ``spread`` and ``local`` take a thickness to a scan. ``tolerance``:
    rms change of the corrected scan, relative to the scan, that ends the rounds; the default is a twentieth of a noise
    of 2 %. ``start`` (l, y, x) is a thickness whose correction the first round has, none when not given.
    ``other_spreads`` are other plausible spreads, say with all radii 15 % wider: each costs one more solution
    and puts, one standard deviation apart, its own uncertainty into the result.
    """
    if rounds < 1 or not tolerance > 0:
        raise MicrotomoError(f"give 1 round or more and a tolerance above 0, not {rounds} and {tolerance}")
    scan = np.asarray(observed, dtype=np.float64)
    if not (np.isfinite(scan).all() and (scan > 0).all()):
        raise MicrotomoError("the scan has values that are not finite or not above 0: mask or repair them first")
    correction, relaxation = np.zeros_like(scan), _MOST
    if start is not None:
        correction = _positive(scan, spread(start) - local(start))
    done: list[_Round] = []
    relaxations: list[float] = []
    status = Status.ROUNDS
    for _ in range(rounds):
        thickness = solve_local(scan - correction)
        signal = spread(thickness)
        change = signal - local(thickness) - correction
        done.append(_Round(thickness, correction, change, _rms((signal - scan) / scan)))
        if _rms(change / scan) < tolerance:
            status = Status.CONVERGED
            break
        if _stalled([one.residual for one in done]):
            status = Status.STALLED
            break
        if len(done) > 1:
            relaxation = _relaxed(relaxation, done[-2].change, change)
        relaxations.append(relaxation)
        correction = _positive(scan, correction + relaxation * change)
    best = done[-1] if status is Status.CONVERGED else min(done, key=lambda one: one.residual)
    left, apart = _left(scan, best, solve_local, spread, other_spreads)
    residuals = tuple(one.residual for one in done)
    return Deferred(best.thickness, best.correction, residuals, tuple(relaxations), status, left, apart)


def _relaxed(before: float, last: np.ndarray, now: np.ndarray) -> float:
    """Aitken's relaxation from two changes g, within limits."""
    step = now - last
    size = float((step**2).sum())
    aitken = -before * float((last * step).sum()) / size if size > 0 else before
    return min(max(aitken, _LEAST), _MOST)


def _stalled(residuals: list[float]) -> bool:
    """Whether the last rounds brought no better residual than the best before them."""
    if len(residuals) <= _PATIENCE:
        return False
    return min(residuals[-_PATIENCE:]) > _BETTER * min(residuals[:-_PATIENCE])


def _positive(scan: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """The correction, leaving a tenth of the signal at least: no local model explains a negative one."""
    return np.asarray(np.minimum(correction, 0.9 * scan))


def _left(
    scan: np.ndarray,
    best: _Round,
    solve_local: Solver,
    spread: Callable[[np.ndarray], np.ndarray],
    other_spreads: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of what is left in the signal (e, y, x), and in the thickness (l, y, x) [nm]."""
    signal = spread(best.thickness) if other_spreads else np.empty(0)
    differences = [best.change, *(other(best.thickness) - signal for other in other_spreads)]
    left = np.sqrt(sum(difference**2 for difference in differences))
    if len(differences) > 1:
        first, second, *rest = differences  # what is left adds to the first other spread: one solution fewer
        differences = [first + second, *rest]
    apart = np.zeros_like(best.thickness)
    for difference in differences:
        other = solve_local(scan - _positive(scan, best.correction + difference))
        apart = np.hypot(apart, other - best.thickness)
    return np.asarray(left), apart


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
