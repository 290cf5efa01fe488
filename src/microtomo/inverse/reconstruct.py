"""From a scan to a reconstruction, whatever the method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.inverse.drift import DRIFT, undo_drift
from microtomo.inverse.masking import fill_left_out
from microtomo.inverse.misfit import Grid
from microtomo.inverse.model_error import with_model_error
from microtomo.inverse.noise import estimate_noise
from microtomo.inverse.problem import Problem
from microtomo.inverse.screening import screen
from microtomo.inverse.spread import Corrected, run_with_spread
from microtomo.inverse.spread_rounds import Solver
from microtomo.inverse.status import chi_square_of, status_of
from microtomo.inverse.verdict import verdicts_of
from microtomo.materials import Stack, load_stack
from microtomo.physics.forward import ForwardModel, forward_model
from microtomo.physics.spread_model import GivenSpread, SpreadModel, spread_around
from microtomo.registry import DEFAULT_FORWARD, get_method, get_task
from microtomo.scan import Array, Reconstruction, Scan, Status, as_tensor, like
from microtomo.voxels import RULES, default_depth

_RAW = "looks like raw counts: run `microtomo import` on the images first"
_MOST_SIGNAL = 20.0  # over substrate: no material reaches it, counts of a detector do
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
    as_is: bool = False,
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
    as_is
        Take the scan as it stands: check no normalisation, reject no hot or dead value, undo no drift. The verdict is
        given all the same.
    options
        Settings of the method.

    Returns
    -------
    Reconstruction
        Arrays of the kind that came in; leading sample axis where the scan had one.

    Raises
    ------
    MicrotomoError
        For NaN (but where a pixel has it at every energy, which is left out), negative or not normalised signals,
        energies that do not fit, unknown methods, options, forward models, and for a spread whose kernels cannot be
        had, or of a scan that does not say its pixel size.
    """
    chosen = get_method(method)
    if get_task(chosen.task).input != "scan":
        raise MicrotomoError(f"method {method} is for task {chosen.task}, not for scans: use `microtomo segment`")
    options = chosen.checked(options)
    if spread is not None and not isinstance(scan, Scan):
        raise MicrotomoError("an array has no pixel size, which lateral spread needs: give a Scan with one")
    scan, problem_stack = _complete(scan, stack, energies_kev)
    model = forward_model(forward or contrast or scan.forward or DEFAULT_FORWARD, problem_stack)
    if not model.local:
        raise MicrotomoError(
            f"method {method} takes each pixel's spectrum as that pixel's own, but in forward model {model.name} "
            "neighbours take part: give a local one, and the spread apart"
        )
    if rule not in RULES:
        raise MicrotomoError(f"unknown voxel rule {rule!r}: use {' or '.join(RULES)}")
    noise = _checked_noise(noise, scan)
    data = _on(device, as_tensor(scan.data).detach())
    batch, left_out = fill_left_out((data if data.ndim == 4 else data[None]).float())
    _check_signal(batch)
    level = torch.full((len(batch),), noise) if noise is not None else estimate_noise(batch, model)
    _check_normalised(batch, model, level)
    depth = default_depth(problem_stack, voxel_nm)
    around = None if spread is None else spread_around(model, spread, scan.pixel_nm, beam_fwhm_nm)
    started = time.perf_counter()
    with torch.inference_mode():
        screened = screen(batch, model, level, given=noise is not None, as_is=as_is, with_spread=around is not None)
        problem = Problem(model, screened.noise.cpu(), depth, voxel_nm, rule)
        done = _run(method, partial(chosen.run, **options), screened.signal, problem, around, as_is)
        batch, estimate = done.signal, with_model_error(done.estimate, problem)
        chi_square = chi_square_of(batch, estimate.thickness, problem)
        status = status_of(batch, estimate, chi_square, problem, screened.rejected)
        verdicts = verdicts_of(batch, estimate, problem, screened, done.history.get(DRIFT, ()))
    seconds = time.perf_counter() - started

    def shaped(values: Tensor, blank: float = float("nan")) -> Array:
        if left_out is not None:
            values = values.masked_fill(left_out.view_as(values[:, :1] if values.ndim == 4 else values), blank)
        return like(values if data.ndim == 4 else values[0], scan.data)

    return Reconstruction(
        thickness=shaped(estimate.thickness),
        uncertainty=shaped(estimate.uncertainty),
        volume=shaped(estimate.volume, 0),
        chi_square=shaped(chi_square),
        status=shaped(status, Status.MASKED),
        method=method,
        stack=problem_stack,
        forward=model.name,
        noise=float(screened.noise.mean()),
        voxel_nm=voxel_nm,
        pixel_nm=scan.pixel_nm,
        seconds=seconds,
        history={**scan.history, **({"options": options} if options else {}), **done.history},
        rejected=shaped(screened.rejected, 0),
        verdicts=verdicts,
    )


def _on(device: str | torch.device | None, data: Tensor) -> Tensor:
    try:
        return data if device is None else data.to(device)
    except (RuntimeError, AssertionError):
        raise MicrotomoError(f"device {str(device)!r} is not available here: use cpu, or cuda with a GPU") from None


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


def _run(
    method: str, run: Solver, batch: Tensor, problem: Problem, spread: SpreadModel | None, as_is: bool
) -> Corrected:
    if spread is not None:
        return run_with_spread(method, run, batch, problem, spread)
    done = Corrected(batch, run(batch, problem), {})
    return done if as_is else undo_drift(run, done, problem)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else repr(value)


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
        raw = float(middle.median()) > _MOST_SIGNAL
        raise MicrotomoError(
            f"the signal (median {float(middle.median()):.4g}) {_RAW if raw else 'is not normalised'}, stack "
            f"{stack.name} gives {low:.2f} to {high:.2f}: divide every energy by its mean over bare substrate, "
            "with --substrate ROWS,COLUMNS or Scan.normalised"
        )
