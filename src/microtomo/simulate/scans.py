"""From thickness maps to a scan: attenuation model, then detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack, load_stack
from microtomo.physics.detector import Detector, detect
from microtomo.physics.forward import ForwardModel, forward_model, thickest
from microtomo.registry import DEFAULT_FORWARD
from microtomo.scan import Array, Scan, as_tensor, like
from microtomo.seeds import NOISE, Stream, derive_seed


def simulate_scan(
    stack: Stack | str | Path,
    thickness: Array,
    *,
    forward: ForwardModel | str = DEFAULT_FORWARD,
    noise: float = 0.02,
    seed: int = 0,
    energies_kev: Sequence[float] | None = None,
    detector: Detector | None = None,
    pixel_nm: float = 10.0,
    contrast: str | None = None,
) -> Scan:
    """Simulate what a detector records of a layer stack.

    Parameters
    ----------
    stack
        A stack, a built-in name such as ``au-al-si`` or the path of a TOML file.
    thickness
        (l, y, x) or (n, l, y, x) [nm], layers bottom to top; a tensor (any device, differentiable) or an array.
    forward
        A forward model or the name of one, see :func:`microtomo.physics.forward.list_forward_models`; ``contrast`` is
        another word for it. With lateral spread: what :func:`microtomo.physics.spread_model.spread_around` gives.
    noise
        Relative standard deviation of the Gaussian noise; not used where a ``detector`` is given.
    seed
        0..2^63 - 1; sample i of a batch depends on (seed, i) alone.
    energies_kev
        Beam energies [keV], increasing; the stack's own when not given.

    Returns
    -------
    Scan
        ``data`` (e, y, x) or (n, e, y, x), of the kind, dtype and device of ``thickness``, which it holds as ``truth``.

    Raises
    ------
    MicrotomoError
        For a thickness that is negative, not finite, empty or of the wrong shape, and for impossible settings.
    """
    model = forward_model(contrast or forward, load_stack(stack), energies_kev)
    stack = model.stack
    if model.history.get("spread", {}).get("pixel_nm", pixel_nm) != pixel_nm:
        raise MicrotomoError(
            f"the forward model spreads over pixels of another size than {pixel_nm:g} nm: give both one"
        )
    depth = as_tensor(thickness)
    _check_thickness(depth, stack)
    covering = model.covering(thickest(depth))
    detector = detector or _gaussian(noise)
    batch = depth if depth.ndim == 4 else depth[None]
    samples = [
        record(sample, covering, detector, derive_seed(seed, Stream.SAMPLES, i, NOISE))
        for i, sample in enumerate(batch)
    ]
    data = torch.stack(samples) if depth.ndim == 4 else samples[0]
    return Scan(
        data=like(data, thickness),
        energies_kev=stack.energies_kev,
        pixel_nm=pixel_nm,
        stack=stack,
        forward=model.local_model.name,
        noise=detector.relative_noise,
        truth=thickness if hasattr(thickness, "ndim") else like(depth, thickness),
        history={"seed": seed, "detector": detector.model_dump(), **model.history},
    )


def record(thickness: Tensor, forward: ForwardModel, detector: Detector, noise_seed: int) -> Tensor:
    """Recorded signal (e, y, x) of one sample (l, y, x) [nm]: the work of :func:`simulate_scan`, nothing checked.

    Runs the compiled kernel unless somebody asks for gradients, float64 or another device.
    """
    return detect(forward.image(thickness), detector, noise_seed)


def _gaussian(noise: float) -> Detector:
    if not 0 <= noise <= 1:
        raise MicrotomoError(f"noise {noise} is impossible: give a relative standard deviation, 0.02 for 2 %")
    return Detector(noise=noise)


def _check_thickness(thickness: Tensor, stack: Stack) -> None:
    layers, shape = len(stack.layers), tuple(thickness.shape)
    if thickness.ndim not in (3, 4) or shape[-3] != layers:
        raise MicrotomoError(
            f"thickness has shape {shape}; stack {stack.name} wants ({layers}, y, x) or (n, {layers}, y, x): "
            f"one map for each of {', '.join(stack.symbols)}, bottom to top"
        )
    if 0 in shape:
        raise MicrotomoError(f"thickness is empty: shape {shape} has an axis of length zero")
    if not bool(torch.isfinite(thickness).all()):
        raise MicrotomoError("thickness has values that are not finite: replace NaN and infinity by numbers in nm")
    if bool((thickness < 0).any()):
        raise MicrotomoError(f"thickness is negative in places (down to {float(thickness.min()):g} nm): give 0 or more")
