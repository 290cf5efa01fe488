"""What an instrument leaves open, from films of known thickness: detector, beam energy, densities, gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from microtomo.detectors import StackDetector
from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.calibration_problem import PARAMETERS, Problem, Solution
from microtomo.inverse.standards import Standards, read_standards
from microtomo.io.scans import read_scan
from microtomo.materials import Stack, load_stack, make_stack

USUAL = PARAMETERS[:-1]
"""What is fitted unless one says otherwise: a scan that was divided by its bare substrate has no gain of its own."""
RESPONSES = ("auto", "energy", "counts")
"""Of the detector; ``auto`` takes the one that fits better."""

_LABELS = {
    "threshold": "detector threshold", "slope": "detector slope", "offset": "energy offset", "density": "density",
    "gain": "gain",
}  # fmt: skip

_UNTOLD = 0.7  # of the deviation before: half of the variance is left, so the data told less than was assumed
_TOGETHER = 0.95  # correlation from which two parameters can only be told together
_DECISIVE = 6.0  # difference of chi-square (odds of 20) from which one response is better than the other


@dataclass(frozen=True)
class Parameter:
    """A fitted value with its standard deviation; ``by_noise`` and ``by_physics`` are the parts of it that come from
    noise (with what was assumed before) and from the physics' doubt. ``assumed`` is mean and deviation before."""

    name: str
    unit: str
    value: float
    deviation: float
    by_noise: float
    by_physics: float
    assumed: tuple[float, float]

    @property
    def told(self) -> bool:
        """Whether the data tell it: the deviation is well below the one before."""
        return self.deviation < _UNTOLD * self.assumed[1]


@dataclass(frozen=True)
class Calibration:
    """The calibrated stack, its parameters, the fitted signal (f, e) of the standards and what the physics may be wrong
    by there (f, e, relative), chi-square a degree of freedom, and sentences about what was and was not found."""

    stack: Stack
    standards: Standards
    parameters: tuple[Parameter, ...]
    fitted: np.ndarray
    doubt: np.ndarray
    chi_square: float
    notes: tuple[str, ...]


def fit_standards(
    standards: Standards,
    stack: Stack,
    *,
    fit: Sequence[str] = USUAL,
    response: str = "auto",
    doubt: bool = True,
    progress: Callable[[int], None] = lambda solutions: None,
) -> Calibration:
    """Fit what an instrument leaves open on films of known thickness, by generalised least squares.

    The residuals are the logarithms of measured over predicted signal. Their covariance is the noise, the accuracy of
    the transport solution and, with ``doubt``, the differences to two other honest choices of elastic cross-sections.
    Every parameter has a broad normal prior, so that what the data cannot tell keeps its wide error bar.

    Parameters
    ----------
    standards
        Signals at the energies of the stack.
    stack
        Layers bottom to top; exit angles, tilt and what is not fitted are those of its detector.
    fit
        Some of :data:`PARAMETERS`.
    response
        ``energy``, ``counts`` or ``auto``: the one that fits better.
    progress
        Told of the number of solutions so far.

    Raises
    ------
    MicrotomoError
        For unknown parameters or responses, films that are all bare, and energies that transport does not cover.
    """
    _check(standards, stack, fit, response)
    trials = []
    for kind in ("energy", "counts") if response == "auto" else (response,):
        problem = Problem(standards, stack, fit, kind, doubt, progress)
        trials.append(problem.solved())
    best = min(trials, key=lambda trial: trial.misfit)
    notes = _response_notes(best, trials)
    return _calibration(best, notes)


def _check(standards: Standards, stack: Stack, fit: Sequence[str], response: str) -> None:
    for name in fit:
        if name not in PARAMETERS:
            raise MicrotomoError(f"unknown parameter {name!r}; {nearest(name, list(PARAMETERS))}")
    if response not in RESPONSES:
        raise MicrotomoError(f"unknown response {response!r}: use {', '.join(RESPONSES)}")
    if not fit:
        raise MicrotomoError(f"nothing to fit: name some of {', '.join(PARAMETERS)}")
    if not standards.thickness.any() and "gain" not in fit:
        raise MicrotomoError("all standards are bare substrate, which tells nothing: add a film of known thickness")
    if standards.signal.shape[1] != len(stack.energies_kev):
        count = standards.signal.shape[1]
        raise MicrotomoError(f"the standards have {count} energies, stack {stack.name} {len(stack.energies_kev)}")


def _calibration(best: Solution, notes: Sequence[str]) -> Calibration:
    """The result in units and words."""
    problem, chi_square = best.problem, best.data_misfit / best.degrees
    parameters = _parameters(best)
    notes = [*notes, *_notes(parameters, best.covariance)]
    if best.excessive:
        notes.append(
            f"chi-square a degree of freedom is {chi_square:.2f}: the films do not follow the model within noise and "
            "the physics' doubt, error bars are widened for it: check thicknesses and regions"
        )
    fitted = np.exp(best.logs.signal + problem.gain(best.values))
    doubt = np.sqrt((best.weights.doubts**2).sum(1)).reshape(fitted.shape)
    return Calibration(_calibrated(best), problem.standards, parameters, fitted, doubt, chi_square, tuple(notes))


def _parameters(best: Solution) -> tuple[Parameter, ...]:
    problem, stack = best.problem, best.problem.stack
    deviation = np.sqrt(np.diag(best.covariance))
    layers, energies = iter(problem.present), iter(stack.energies_kev)
    result = []
    for i, name in enumerate(problem.names):
        value, mean, by = float(best.values[i]), float(problem.mean[i]), 1.0
        unit, label = ("" if name == "slope" else "keV"), _LABELS[name]
        if name in ("density", "gain"):  # fitted as logarithms
            material = stack.layers[next(layers)].material if name == "density" else None
            label += f" of {material.symbol}" if material else f" at {next(energies):g} keV"
            unit, mean = ("g/cm3", material.density_g_cm3) if material else ("", 1.0)
            value = by = float(np.exp(value)) * mean
        total = by * float(deviation[i])
        physics = min(by * float(best.by_physics[i]), total)
        noise = float(np.sqrt(total**2 - physics**2))
        result.append(Parameter(label, unit, value, total, noise, physics, (mean, by * float(problem.sigma[i]))))
    return tuple(result)


def _calibrated(best: Solution) -> Stack:
    """The stack with the detector and the densities that were found."""
    problem, stack, found = best.problem, best.problem.stack, best.problem.instrument(best.values)
    seen, gain = found.detector, (problem.before.gain, problem.before.gain_energies_kev)
    if len(problem.where("gain")):
        gain = (tuple(np.exp(problem.gain(best.values)).tolist()), stack.energies_kev)
    detector = StackDetector(
        response="counts" if seen.response == "counts" else "energy",
        threshold_kev=seen.threshold_kev,
        slope=seen.slope,
        exit_angles_deg=seen.exit_angles_deg,
        tilt_deg=seen.tilt_deg,
        energy_offset_kev=found.energy_offset_kev,
        gain=gain[0],
        gain_energies_kev=gain[1],
    )
    layers = list(stack.layers)
    for k in problem.present:
        material = layers[k].material
        density = material.density_g_cm3 * found.densities[k]
        layers[k] = layers[k].model_copy(update={"material": material.model_copy(update={"density_g_cm3": density})})
    return stack.model_copy(update={"detector": detector, "layers": tuple(layers)})


def _response_notes(best: Solution, trials: Sequence[Solution]) -> list[str]:
    others = [t for t in trials if t is not best]
    notes = []
    for other in others:
        gap, names = other.misfit - best.misfit, {"energy": "weighs energy", "counts": "counts electrons"}
        mine, its = (names[t.problem.response] for t in (best, other))
        if gap < _DECISIVE:
            notes.append(
                f"the data cannot tell whether the detector {mine} or {its} (chi-square differs by {gap:.1f}): "
                f"taken is that it {mine}; say which with --response"
            )
        else:
            notes.append(f"the detector {mine}: that it {its} fits worse, chi-square is {gap:.0f} larger")
    return notes


def _notes(parameters: Sequence[Parameter], covariance: np.ndarray) -> list[str]:
    """What the data cannot tell, and what only together."""
    notes = [
        f"the data cannot tell the {p.name}: {p.value:.3g} ± {p.deviation:.2g} {p.unit}".rstrip()
        + f" is as wide as what was assumed before, {p.assumed[0]:.3g} ± {p.assumed[1]:.2g}: add a standard of another "
        "thickness or material"
        for p in parameters
        if not p.told
    ]
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    for i, a in enumerate(parameters):
        for j, b in enumerate(parameters[:i]):
            if abs(correlation[i, j]) > _TOGETHER and not (a.name.startswith("gain") and b.name.startswith("gain")):
                notes.append(f"{b.name} and {a.name} can only be told together: correlation {correlation[i, j]:.2f}")
    return notes


def calibrate(
    scan: str | Path,
    known: str | Path,
    *,
    stack: Stack | str | Path | None = None,
    mask: str | Path | None = None,
    energies_kev: tuple[float, ...] | None = None,
    substrate: tuple[slice, slice] | None = None,
    noise: float | None = None,
    detector: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Calibration:
    """Calibrate with a scan and the known thickness from files.

    ``known`` and ``mask`` are as :func:`read_standards` takes them; ``substrate`` are rows and columns to normalise to;
    ``detector`` are known values, such as exit angles; ``settings`` those of :func:`fit_standards`.

    Raises MicrotomoError as :func:`fit_standards`, and for files that cannot be read.
    """
    measured = read_scan(scan, energies_kev, stack=None if stack is None else load_stack(stack))
    measured = measured if substrate is None else measured.normalised(*substrate)
    chosen = (measured.stack or load_stack("au-al-si")).model_copy(update={"energies_kev": measured.energies_kev})
    if detector:
        before = (chosen.detector or StackDetector()).model_dump()
        chosen = make_stack({**dict(chosen), "detector": {**before, **detector}}, str(scan))
    standards = read_standards(replace(measured, stack=chosen), known, mask, noise)
    return fit_standards(standards, chosen, **settings)
