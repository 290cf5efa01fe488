"""The least-squares problem of a calibration: parameters as a vector, residuals, their covariance, the optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2

from microtomo.detectors import StackDetector
from microtomo.inverse.standards import Standards
from microtomo.materials import Stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.films import LARGEST_OFFSET_KEV, Films, Instrument, Logarithms
from microtomo.physics.slabs import ELASTIC, MOTT

PARAMETERS = ("threshold", "slope", "offset", "density", "gain")
"""What can be fitted: detector threshold and slope, energy offset, density of each layer, gain at each energy."""

_PRIOR = {"threshold": (2.0, 1.5), "slope": (1.0, 0.2), "offset": (0.0, 0.3), "density": (0.0, 0.1), "gain": (0.0, 0.1)}
# mean and standard deviation before any data: semiconductor detectors begin at 1 to 3 keV and are about linear, beam
# energies are set to some 0.1 keV, thin films are up to a fifth lighter than bulk; density and gain as logarithms
_BOUNDS = {
    "threshold": (0.0, 20.0), "slope": (0.2, 3.0), "offset": (-LARGEST_OFFSET_KEV, LARGEST_OFFSET_KEV),
    "density": (-0.7, 0.4), "gain": (-1.5, 1.5),
}  # fmt: skip
_BLINDEST = 0.8  # largest threshold in units of the lowest beam energy, so that some electrons are seen
_SOLUTION = 5e-4  # relative accuracy of the transport solution, see Settings
_PROBABLE = 1e-3  # probability of a chi-square, below which the films do not follow the model


class Problem:
    """Parameters as a vector: which there are, what each means, and the residuals that they leave."""

    def __init__(
        self,
        standards: Standards,
        stack: Stack,
        fit: Sequence[str],
        response: str,
        doubt: bool,
        progress: Callable[[int], None],
    ) -> None:
        self.standards, self.stack, self.progress, self.response = standards, stack, progress, response
        self.before = stack.detector or StackDetector()
        unseen = ("threshold", "slope") if response == "counts" else ()
        present = [k for k in range(len(stack.layers)) if standards.thickness[k].any()]
        counts = {"density": len(present), "gain": len(stack.energies_kev)}
        self.names = [n for n in PARAMETERS if n in fit and n not in unseen for _ in range(counts.get(n, 1))]
        self.present = present if "density" in fit else []
        self.mean, self.sigma = (np.array([_PRIOR[n][i] for n in self.names]) for i in (0, 1))
        bounds = [np.array([_BOUNDS[n][i] for n in self.names]) for i in (0, 1)]
        blind = [n == "threshold" for n in self.names]
        bounds[1][blind] = min(_BOUNDS["threshold"][1], _BLINDEST * stack.energies_kev[0])
        self.bounds = bounds
        self.mean = np.clip(self.mean, bounds[0] + 1e-3, bounds[1] - 1e-3)
        seen = self.instrument(self.mean).detector
        kinds = [e for e in ELASTIC if e != MOTT] if doubt else []
        self.films = Films(stack, standards.thickness, seen)
        self.others = [Films(stack, standards.thickness, seen, elastic) for elastic in kinds]
        self.solutions = 0

    def where(self, name: str) -> np.ndarray:
        """Places of a parameter in the vector."""
        return np.flatnonzero([n == name for n in self.names])

    def instrument(self, values: np.ndarray) -> Instrument:
        """What a vector of parameters means."""
        given = dict(zip(self.names, values, strict=True))
        energy = self.response == "energy"
        detector = BackscatterDetector(
            self.response,
            float(given.get("threshold", self.before.threshold_kev)) if energy else 0.0,
            self.before.exit_angles_deg,
            self.before.tilt_deg,
            float(given.get("slope", self.before.slope)) if energy else 1.0,
        )
        densities = np.ones(len(self.stack.layers))
        densities[self.present] = np.exp(values[self.where("density")])
        return Instrument(
            detector, float(given.get("offset", self.before.energy_offset_kev)), tuple(densities.tolist())
        )

    def gain(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of the gain (e,)."""
        places = self.where("gain")
        return values[places] if len(places) else np.log(self.before.gain_at(self.stack.energies_kev))

    def predicted(self, values: np.ndarray) -> Logarithms:
        """Log-signals without gain."""
        self.solutions += 1
        self.progress(self.solutions)
        return self.films.logarithms(self.instrument(values))

    def jacobian(self, logs: Logarithms) -> np.ndarray:
        """Derivatives (f e, parameters) of the predicted logarithms."""
        films, count = logs.signal.shape
        each = {"threshold": [logs.by_threshold], "slope": [logs.by_slope], "offset": [logs.by_offset]}
        each["density"] = [logs.by_density[k] for k in self.present]
        each["gain"] = [np.broadcast_to(row, (films, count)) for row in np.eye(count)]
        columns = [column for name in dict.fromkeys(self.names) for column in each[name]]
        return np.stack([np.ravel(c) for c in columns], 1)

    def doubts(self, values: np.ndarray, logs: Logarithms) -> np.ndarray:
        """What the physics may be wrong by, as :meth:`ForwardModel.doubt` says: directions (f e, m) of the logarithms,
        each one standard deviation long."""
        there = [o.logarithms(self.instrument(values)).signal - logs.signal for o in self.others]
        return np.stack([d.ravel() / 2**0.5 for d in there], 1) if there else np.zeros((logs.signal.size, 0))

    def solved(self) -> Solution:
        """The best vector: once with the physics' doubt as it is before, and again with that at the optimum."""
        values = self.mean
        for _ in range(2 if self.others else 1):
            weights = Weights(self.standards, self.doubts(values, self.predicted(values)))
            values = self._fitted(values, weights)
        return Solution(self, values, self.predicted(values), weights)

    def _fitted(self, start: np.ndarray, weights: Weights) -> np.ndarray:
        latest: list[tuple[np.ndarray, Logarithms]] = []

        def solve(values: np.ndarray) -> Logarithms:
            if not latest or not np.array_equal(latest[0][0], values):
                latest[:] = [(values.copy(), self.predicted(values))]
            return latest[0][1]

        def residuals(values: np.ndarray) -> np.ndarray:
            data = self.excess(values, solve(values))
            return np.concatenate([weights.whiten(data), (values - self.mean) / self.sigma])

        def slopes(values: np.ndarray) -> np.ndarray:
            return np.concatenate([weights.whiten(self.jacobian(solve(values))), np.diag(1 / self.sigma)])

        low, high = self.bounds
        inside = np.clip(start, low + 1e-6, high - 1e-6)
        result = least_squares(residuals, inside, slopes, self.bounds, x_scale=self.sigma, xtol=1e-6, ftol=1e-8)
        return np.asarray(result.x)

    def excess(self, values: np.ndarray, logs: Logarithms) -> np.ndarray:
        """Logarithm of predicted over measured signal (f e,)."""
        return np.asarray((logs.signal + self.gain(values) - np.log(self.standards.signal)).ravel())


class Weights:
    """Covariance of the residuals: noise, accuracy of the solution, and directions of doubt."""

    def __init__(self, standards: Standards, doubts: np.ndarray) -> None:
        self.noise = (standards.deviation**2 + _SOLUTION**2).ravel()
        self.doubts = doubts
        self.root = np.linalg.cholesky(np.diag(self.noise) + doubts @ doubts.T)

    def whiten(self, values: np.ndarray) -> np.ndarray:
        """Residuals, or columns of them, with unit covariance."""
        return np.linalg.solve(self.root, values)


class Solution:
    """An optimum with its covariance."""

    def __init__(self, problem: Problem, values: np.ndarray, logs: Logarithms, weights: Weights) -> None:
        self.problem, self.values, self.logs, self.weights = problem, values, logs, weights
        slopes = weights.whiten(problem.jacobian(logs))
        residuals = weights.whiten(problem.excess(values, logs))
        pull = (values - problem.mean) / problem.sigma
        self.data_misfit = float(residuals @ residuals)
        self.misfit = self.data_misfit + float(pull @ pull)
        precision = slopes.T @ slopes + np.diag(problem.sigma**-2.0)
        self.degrees = max(1.0, len(residuals) - float(np.trace(np.linalg.solve(precision, slopes.T @ slopes))))
        self.excessive = chi2.sf(self.data_misfit, self.degrees) < _PROBABLE
        scale = self.data_misfit / self.degrees if self.excessive else 1.0
        self.covariance = np.linalg.inv(precision / scale)
        estimator = np.linalg.solve(precision, slopes.T)
        self.by_physics = np.sqrt(((estimator @ weights.whiten(weights.doubts)) ** 2).sum(1))
