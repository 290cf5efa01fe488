"""Which cause explains the residuals of a scan best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import binary_opening, label

from microtomo.acquisition.normalisation import Normalisation
from microtomo.errors import MicrotomoError
from microtomo.inverse.misfit import NOISE_FLOOR, starting_grid
from microtomo.inverse.pixelwise import fit_spectra
from microtomo.inverse.problem import Problem
from microtomo.inverse.residuals import Groups
from microtomo.materials import Layer, Stack, builtin_materials
from microtomo.physics.forward import ForwardModel, list_forward_models

_MOST_LAYERS = 2  # for which other forward models and materials are tried: more take minutes
_EXPLAINED = 0.9  # of the excess: what explains less is no cause
_ROUGHLY = 0.8  # of the excess, by an energy offset: to first order in the thickness
_OFFSETS_KEV = np.linspace(-1, 1, 41)
_FEWEST_ENERGIES = 6  # for a course over the energies
_EVERYWHERE = 0.6  # of the pixels in groups: what fewer show is no gain
_ROUGH = 0.5  # share of a common gain that no straight line over the energies has
_FAR = 6.0  # standard deviations of a group that the physics does not explain
_ALONE = 0.6  # of the image: a thing that lies somewhere is smaller
_STEPS = 6  # of the fit of a group's thickness under another model
_OPENING = np.ones((5, 5))  # pixels: narrower patches are edges

Box = tuple[int, int, int, int]
Suspect = tuple[float, str, str]
"""Share of the excess that a cause explains, its name, and a sentence."""


def name_cause(groups: Groups, problem: Problem, normal: Normalisation | None) -> tuple[str, str, Box | None]:
    """The likeliest cause of the residuals, a sentence, and where it is: what explains most of their squares."""
    total = max(float((groups.chi_square(groups.rest) - groups.free).sum()), 1e-9)

    def explained(rest: np.ndarray) -> float:
        return 1 - float((groups.chi_square(rest) - groups.free).sum()) / total

    left = f"like answers leave {groups.excess(groups.rest):.2%} after their noise"
    common, gain = _without_common(groups)
    everywhere = np.average(groups.deviations > _FAR, weights=groups.pixels) > _EVERYWHERE
    offset, kev = _without_offset(groups, problem)
    found: list[Suspect] = [
        (explained(common) * everywhere, _gain_kind(gain), f"{left}, the same in all regions at every energy"),
        (explained(offset), "energy offset", f"{left}, as if the beam had {kev:+.2f} keV more than is said"),
    ]
    if max(found)[0] < _EXPLAINED or (normal is not None and normal.state != "uncertain"):
        found += _others(groups, problem, explained, left)
    region = _region(groups)
    best = max(found, key=lambda f: f[0])
    inside = best[1] == "energy offset" and abs(kev) < _OFFSETS_KEV[-1]
    if best[0] >= (_ROUGHLY if inside else _EXPLAINED):
        return best[1], best[2], None
    if region is not None:
        rows, columns = f"rows {region[0]} to {region[1]}", f"columns {region[2]} to {region[3]}"
        return "unknown material", f"{left}, in {rows}, {columns}: something lies there that the stack has not", region
    layer = _layer(groups, problem.stack)
    if layer:
        return "stack", f"{left} wherever {layer} was found: it may be another material", None
    return "physics", left, None


def _without_common(groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (g, e) less the gain (e,) that fits all groups best, and that gain."""
    energies = groups.rest.shape[1]
    normal = np.eye(energies) * groups.pixels.sum()
    normal -= np.einsum("g,gle,glf->ef", groups.pixels, groups.directions, groups.directions)
    gain = np.linalg.lstsq(normal, groups.pixels @ groups.rest, rcond=1e-3)[0]
    return groups.rest - groups.project(np.tile(gain, (len(groups.rest), 1))), gain


def _without_offset(groups: Groups, problem: Problem) -> tuple[np.ndarray, float]:
    """Residuals (g, e) less what beam energies off by a constant leave, and the constant [keV] that leaves least."""
    kev = np.asarray(problem.stack.energies_kev)
    if len(kev) < _FEWEST_ENERGIES:
        return groups.rest, 0.0
    logs = problem.forward.response(torch.from_numpy(groups.thickness.T.astype(np.float32))).double().log().numpy().T
    course = CubicSpline(kev, logs, axis=1)
    trials = [(groups.rest - groups.project(np.expm1(course(kev + off) - logs)), float(off)) for off in _OFFSETS_KEV]
    return min(trials, key=lambda trial: float(groups.chi_square(trial[0]).sum()))


def _gain_kind(gain: np.ndarray) -> str:
    """A gain that runs straight over the energies is a normalisation gone wrong, a rough one the detector's."""
    at = np.linspace(-1, 1, len(gain))
    straight = np.polyval(np.polyfit(at, gain, 1), at)
    return "gain" if ((gain - straight) ** 2).sum() > _ROUGH * (gain**2).sum() else "normalisation"


def _others(groups: Groups, problem: Problem, explained: Callable[[np.ndarray], float], left: str) -> list[Suspect]:
    """Other forward models, and other materials in each layer, where trying them takes no minutes."""
    if len(problem.stack.layers) > _MOST_LAYERS:
        return []
    found: list[Suspect] = []
    for kind in list_forward_models():
        if kind.local and kind.name != problem.forward.name:
            try:
                share = explained(under(groups, kind(problem.stack)))
            except MicrotomoError:  # a stack that this model does not cover
                continue
            found.append((share, "forward model", f"{left}; forward model {kind.name} explains the scan"))
    if type(problem.forward).prepare is ForwardModel.prepare:
        for changed, text in _other_stacks(problem.stack):
            share = explained(under(groups, type(problem.forward)(changed)))
            found.append((share, "stack", f"{left}; {text} would explain the scan"))
    return found


def _other_stacks(stack: Stack) -> list[tuple[Stack, str]]:
    """The stack with another built-in material in one layer, each with words for it."""
    found: list[tuple[Stack, str]] = []
    for k, layer in enumerate(stack.layers):
        for symbol, material in builtin_materials().items():
            if symbol in stack.symbols or symbol == stack.substrate.symbol:
                continue
            layers = list(stack.layers)
            layers[k] = Layer(material=material, max_nm=2 * layer.max_nm)
            found.append(
                (stack.model_copy(update={"layers": tuple(layers)}), f"{symbol} in place of {stack.symbols[k]}")
            )
    return found


def refit(groups: Groups, forward: ForwardModel) -> Groups:
    """The groups with what they leave at their own best thickness, where that is less than at the answer's."""
    rest = under(groups, forward)
    better = ((rest**2).sum(1) < (groups.rest**2).sum(1))[:, None]
    return replace(groups, rest=np.where(better, rest, groups.rest))


def under(groups: Groups, forward: ForwardModel) -> np.ndarray:
    """Residuals (g, e) of the groups' spectra, each at the thickness that a forward model likes best."""
    observed = torch.from_numpy(groups.spectrum.T.astype(np.float32))
    problem = Problem(forward, torch.tensor([groups.noise]))
    grid = starting_grid(forward)
    misfit = grid.misfit(observed, NOISE_FLOOR)
    everywhere = torch.nonzero((grid.thickness > 0).all(0))[:, 0]
    trials = []
    for among in (torch.arange(len(grid)), everywhere):
        start = grid.thickness.to(observed)[:, among[misfit[:, among].argmin(1)]]
        thickness, _ = fit_spectra(observed, start, start > 0, problem, NOISE_FLOOR, _STEPS)
        trials.append((observed / forward.response(thickness) - 1).T.double().numpy())
    first, second = ((trial**2).sum(1, keepdims=True) for trial in trials)
    return np.where(first <= second, *trials)


def _region(groups: Groups) -> Box | None:
    """First and last row and column of the largest patch of pixels in groups that the physics does not explain; None
    where they are all over the image."""
    bad = np.append(groups.deviations > _FAR, False)[groups.member]
    numbers, count = label(binary_opening(bad, _OPENING))
    if not count:
        return None
    largest = 1 + int(np.bincount(numbers.ravel())[1:].argmax())
    rows, columns = (np.flatnonzero((numbers == largest).any(axis)) for axis in (1, 0))
    box = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    share = (box[1] - box[0] + 1) * (box[3] - box[2] + 1) / bad.size
    return box if share < _ALONE else None


def _layer(groups: Groups, stack: Stack) -> str:
    """The layer that is in all groups which the physics does not explain, and in no other large one; else nothing."""
    bad = groups.deviations > _FAR
    for k, symbol in enumerate(stack.symbols):
        there = groups.thickness[:, k] > 0
        if bad.any() and there[bad].all() and not bad[~there].any():
            return symbol
    return ""
