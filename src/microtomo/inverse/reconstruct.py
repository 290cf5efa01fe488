"""From a scan to a reconstruction, whatever the method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtomo.errors import MicrotomoError, nearest
from microtomo.inverse.misfit import NOISE_FLOOR, Grid
from microtomo.inverse.model_error import with_model_error
from microtomo.inverse.noise import estimate_noise
from microtomo.inverse.problem import Estimate, Problem
from microtomo.inverse.spread import Corrected, run_with_spread
from microtomo.inverse.spread_rounds import Solver
from microtomo.materials import Stack, load_stack
from microtomo.physics.forward import DEFAULT, ForwardModel, forward_model
from microtomo.physics.spread_model import GivenSpread, SpreadModel, spread_around
from microtomo.registry import Method, get_method, get_task
from microtomo.scan import Array, Reconstruction, Scan, Status, as_tensor, like
from microtomo.voxels import RULES, default_depth

_FEWEST = 6  # energies that the noise estimate needs


def reconstruct(
    scan: Scan | Array,
    method: str = "map",
    *,
    stack: Stack | str | Path | None = None,
    forward: ForwardModel | str | None = None,
    noise: float | None = None,
    energies_kev: Sequence[float] | None = None,
    voxel_nm: float = 10.0,
    rule: str = "floor",
    device: str | torch.device | None = None,
    contrast: str | None = None,
    spread: GivenSpread | None = None,
    beam_fwhm_nm: float = 0.0,
    **options: Any,
) -> Reconstruction:
    """Recover what lies under the surface from a multi-energy scan.

    Parameters
    ----------
    scan
        A :class:`Scan`, or an array or tensor (e, y, x) or (n, e, y, x) of signal over bare substrate.
    method
        Name in the registry, see :func:`list_methods`.
    stack, forward, energies_kev
        What the scan does not say itself; else ``au-al-si``, the default forward model, the stack's energies. A forward
        model is given by name (``contrast`` is another word for it), or as an object, which has a stack of its own.
    noise
        Relative noise level, 0.02 = 2 %; when not given, estimated from the scan, or with fewer than six energies what
        the scan says itself.
    spread, beam_fwhm_nm
        Lateral spread of the electrons, as :func:`microtomo.physics.spread_model.spread_around` takes it, and diameter
        of the beam: solves again and again, a dozen times or so, with what surrounds every pixel. The history says how
        that went.
    options
        Settings of the method.

    Returns
    -------
    Reconstruction
        Arrays of the kind that came in; leading sample axis where the scan had one.

    Raises
    ------
    MicrotomoError
        For NaN, negative or not normalised signals, energies that do not fit, unknown methods, options, forward models,
        and for a spread whose kernels cannot be had, or of a scan that does not say its pixel size.
    """
    chosen = get_method(method)
    if get_task(chosen.task).input != "scan":
        raise MicrotomoError(f"method {method} is for task {chosen.task}, not for scans: use `microtomo segment`")
    _check_options(chosen, options)
    if spread is not None and not isinstance(scan, Scan):
        raise MicrotomoError("an array has no pixel size, which lateral spread needs: give a Scan with one")
    scan, problem_stack = _complete(scan, stack, energies_kev)
    model = forward_model(forward or contrast or scan.forward or DEFAULT, problem_stack)
    if not model.local:
        raise MicrotomoError(
            f"method {method} takes each pixel's spectrum as that pixel's own, but in forward model {model.name} "
            "neighbours take part: give a local one, and the spread apart"
        )
    if rule not in RULES:
        raise MicrotomoError(f"unknown voxel rule {rule!r}: use {' or '.join(RULES)}")
    noise = _checked_noise(noise, scan)
    data = as_tensor(scan.data).detach()
    if device is not None:
        try:
            data = data.to(device)
        except (RuntimeError, AssertionError):
            raise MicrotomoError(f"device {str(device)!r} is not available here: use cpu, or cuda with a GPU") from None
    _check_signal(data)
    batch = (data if data.ndim == 4 else data[None]).float()
    level = torch.full((len(batch),), noise) if noise is not None else estimate_noise(batch, model)
    _check_normalised(batch, model, level)
    depth = default_depth(problem_stack, voxel_nm)
    problem = Problem(model, level.cpu(), depth, voxel_nm, rule)
    around = None if spread is None else spread_around(model, spread, scan.pixel_nm, beam_fwhm_nm)
    started = time.perf_counter()
    with torch.inference_mode():
        done = _run(method, partial(chosen.run, **options), batch, problem, around)
        batch, estimate = done.signal, with_model_error(done.estimate, problem)
        chi_square = _chi_square(batch, estimate.thickness, problem)
        status = _status(batch, estimate, chi_square, problem)
    seconds = time.perf_counter() - started

    def shaped(values: Tensor) -> Array:
        return like(values if data.ndim == 4 else values[0], scan.data)

    return Reconstruction(
        thickness=shaped(estimate.thickness),
        uncertainty=shaped(estimate.uncertainty),
        volume=shaped(estimate.volume),
        chi_square=shaped(chi_square),
        status=shaped(status),
        method=method,
        stack=problem_stack,
        forward=model.name,
        noise=float(level.mean()),
        voxel_nm=voxel_nm,
        pixel_nm=scan.pixel_nm,
        seconds=seconds,
        history={**scan.history, **({"options": options} if options else {}), **done.history},
    )


def _checked_noise(noise: float | None, scan: Scan) -> float | None:
    """The relative noise level as given, or the scan's own where too few energies tell it; None: estimate it."""
    if noise is not None and not (isinstance(noise, int | float) and 0 <= noise <= 1):
        raise MicrotomoError(f"noise {_shown(noise)} is impossible: give a relative level, 0.02 for 2 %")
    count = len(scan.energies_kev)
    if noise is None and count < _FEWEST:
        noise = scan.noise
        if noise is None:
            raise MicrotomoError(f"{count} energies are too few to tell noise from signal: give the noise level")
    return noise


def _run(method: str, run: Solver, batch: Tensor, problem: Problem, spread: SpreadModel | None) -> Corrected:
    if spread is None:
        return Corrected(batch, run(batch, problem), {})
    return run_with_spread(method, run, batch, problem, spread)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else repr(value)


def _check_options(method: Method, options: dict[str, Any]) -> None:
    for name in options:
        if name not in method.options:
            raise MicrotomoError(f"method {method.name} has no option {name!r}; {nearest(name, method.options)}")


def _complete(
    scan: Scan | Array, stack: Stack | str | Path | None, energies_kev: Sequence[float] | None
) -> tuple[Scan, Stack]:
    """The scan with its energies, and the stack with the energies of the scan."""
    if isinstance(scan, Scan):
        chosen = load_stack(stack) if stack is not None else scan.stack or load_stack("au-al-si")
        energies = tuple(scan.energies_kev if energies_kev is None else energies_kev)
        if energies != tuple(scan.energies_kev):
            raise MicrotomoError("the scan has energies of its own: leave energies_kev out, or pass its data alone")
    else:
        chosen = load_stack(stack if stack is not None else "au-al-si")
        energies = tuple(float(e) for e in (chosen.energies_kev if energies_kev is None else energies_kev))
        array = scan if isinstance(scan, Tensor) else as_tensor(scan).numpy()
        scan = Scan(array, energies)
    return scan, chosen.model_copy(update={"energies_kev": tuple(energies)})


def _check_signal(data: Tensor) -> None:
    bad = int((~torch.isfinite(data)).sum())
    if bad:
        raise MicrotomoError(f"the scan has {bad} NaN or infinite values: mask or crop them before reconstruction")
    negative = int((data < 0).sum())
    if negative:
        raise MicrotomoError(
            f"the scan has {negative} negative values (down to {float(data.min()):g}): subtract the detector's dark "
            "offset, then divide by the bare substrate"
        )


def _check_normalised(data: Tensor, forward: ForwardModel, noise: Tensor) -> None:
    """Refuse a signal whose typical level no thickness of the stack gives at most of the energies."""
    stack = forward.stack
    axes = [torch.linspace(0, nm, 9, dtype=torch.float64) for nm in stack.max_nm]
    signal = torch.cat([Grid(axes, forward).signal.flatten(), forward.bulk_signal().flatten()])
    low, high = float(signal.min()), float(signal.max())
    middle = data.flatten(2).median(2).values.cpu()  # (n, e)
    slack = 0.05 + 3 * noise.cpu().float().clamp_max(0.1)[:, None]
    outside = ((middle < low * (1 - slack)) | (middle > high * (1 + slack))).float().mean(1)
    if bool((outside > 0.5).any()):
        raise MicrotomoError(
            f"the signal (median {float(middle.median()):.4g}) is not normalised, stack {stack.name} gives "
            f"{low:.2f} to {high:.2f}: divide every energy by its mean over bare substrate, "
            "with --substrate ROWS,COLUMNS or Scan.normalised"
        )


def _chi_square(data: Tensor, thickness: Tensor, problem: Problem) -> Tensor:
    """Mean over energies of the squared residual of the re-simulated signal over its noise: (n, y, x)."""
    rows = max(1, 2**18 // data.shape[-1])
    result = torch.empty_like(data[:, 0])
    for i in range(len(data)):
        s = max(float(problem.noise[i]), NOISE_FLOOR)
        for first in range(0, data.shape[2], rows):
            part = slice(first, first + rows)
            model = problem.forward(thickness[i, :, part])
            result[i, part] = ((data[i, :, part] / model - 1) ** 2).mean(0) / s**2
    return result


def _status(data: Tensor, estimate: Estimate, chi_square: Tensor, problem: Problem) -> Tensor:
    """Codes of :class:`Status`, uint8 (n, y, x). A poor fit is one that noise gives once in a million pixels."""
    free = max(1, len(problem.stack.energies_kev) - len(problem.stack.layers))
    # upper quantile of chi-square over its degrees of freedom (Wilson & Hilferty 1931), z = 4.9
    limit = (1 - 2 / (9 * free) + 4.9 * (2 / (9 * free)) ** 0.5) ** 3
    top = torch.tensor(problem.stack.max_nm).to(estimate.thickness)[:, None, None]
    poor = chi_square > limit
    at_end = (estimate.thickness >= 0.995 * top).any(1)
    opaque = _opaque(data, estimate.thickness, chi_square, problem)
    status = torch.full_like(chi_square, int(Status.OK), dtype=torch.uint8)
    status[~estimate.converged] = int(Status.NOT_CONVERGED)
    status[poor] = int(Status.POOR_FIT)
    status[(poor & at_end) | opaque] = int(Status.OUT_OF_RANGE)
    return status


def _opaque(data: Tensor, thickness: Tensor, chi_square: Tensor, problem: Problem) -> Tensor:
    """Where a layer may as well be so thick that nothing is seen through it even at the highest energy: (n, y, x).
    Its thickness is then a lower bound at best."""
    stack = problem.stack
    opaque = torch.zeros_like(chi_square, dtype=torch.bool)
    for k, layer in enumerate(stack.layers):
        if problem.forward.transmitted(k) < float(problem.noise.max().clamp_min(NOISE_FLOOR)):
            thick = thickness.clone()
            thick[:, k] = layer.max_nm
            # within three standard deviations of the estimate
            close = (_chi_square(data, thick, problem) - chi_square) * len(stack.energies_kev) < 9
            opaque |= close & (thickness[:, k] > 0)
    return opaque
