"""The spectrum of one pixel: what was observed against what the reconstruction would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from microtomo.errors import MicrotomoError
from microtomo.physics.forward import forward_model
from microtomo.registry import DEFAULT_FORWARD
from microtomo.scan import Reconstruction, Scan, as_tensor
from microtomo.viz import colours
from microtomo.viz.figures import array, new_figure, styled


def resimulated(reconstruction: Reconstruction, energies_kev: tuple[float, ...], pixel: tuple[int, int]) -> np.ndarray:
    """Signal (e,) that the reconstructed thickness of a pixel gives, by the forward model; one sample."""
    y, x = pixel
    thickness = as_tensor(reconstruction.thickness)[:, y : y + 1, x : x + 1].double()
    return _signal(thickness, reconstruction, energies_kev)


def _signal(thickness: torch.Tensor, source: Any, energies_kev: tuple[float, ...]) -> np.ndarray:
    with torch.no_grad():
        signal = forward_model(source.forward or DEFAULT_FORWARD, source.stack, energies_kev)(thickness)
    return np.asarray(signal[:, 0, 0].cpu().numpy())


@styled
def spectrum_figure(
    scan: Scan, reconstructions: Mapping[str, Reconstruction], pixel: tuple[int, int], *, small: bool = False
) -> Figure:
    """Observed signal of pixel (y, x) with its noise, re-simulated lines by method, and residuals in sigma.

    ``scan`` and reconstructions are of one sample. A ``small`` figure is for a viewer that shows the numbers itself;
    it may be of a scan alone. Raises MicrotomoError for a pixel outside the image.
    """
    data = array(scan.data)
    y, x = pixel
    height, width = data.shape[-2:]
    if data.ndim != 3 or not (0 <= y < height and 0 <= x < width):
        raise MicrotomoError(f"pixel {y},{x} is outside the image: rows 0..{height - 1}, columns 0..{width - 1}")
    if not reconstructions and not small:
        raise MicrotomoError("a spectrum needs a reconstruction to compare with: give one")
    energies = np.asarray(scan.energies_kev)
    observed = data[:, y, x].astype(float)
    noise = scan.noise or next((r.noise for r in reconstructions.values()), None) or 0.02
    title = f"pixel y {y}, x {x}  ({y * scan.pixel_nm:g} nm, {x * scan.pixel_nm:g} nm)"
    figure = new_figure(4.4, 3.0) if small else new_figure(9.4, 5.0, title)
    axis, residual = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    axis.errorbar(
        energies, observed, yerr=noise * observed, fmt="o", color=colours.INK, markersize=3.5, capsize=2, linewidth=1,
        label=f"observed, noise {100 * noise:.2g} %", zorder=5,
    )  # fmt: skip
    if scan.truth is not None and not small:
        true = as_tensor(scan.truth)[:, y, x]
        layers = [f"{s} {float(true[k]):.1f}" for k, s in reversed(list(enumerate(_symbols(reconstructions))))]
        axis.plot([], [], " ", label=f"truth:  {', '.join(layers)} nm")
    _draw_models(axis, residual, scan, reconstructions, pixel, noise, small)
    axis.set_ylabel("signal over substrate")
    axis.axhline(1, color=colours.FAINT, linewidth=0.8, linestyle=":")
    residual.set_ylabel("residual [σ]")
    residual.set_xlabel("beam energy [keV]")
    for part in (axis, residual):
        part.grid(color="#E8E8E8", linewidth=0.6)
        part.set_axisbelow(True)
    if not small:
        _draw_legend(figure, axis)
        return figure
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    if not reconstructions:
        residual.remove()
        axis.set_subplotspec(figure.add_gridspec(1, 1)[0])
        axis.set_xlabel("beam energy [keV]")
        axis.tick_params(labelbottom=True)
    return figure


def _draw_models(
    axis: Any,
    residual: Any,
    scan: Scan,
    reconstructions: Mapping[str, Reconstruction],
    pixel: tuple[int, int],
    noise: float,
    small: bool,
) -> None:
    """What each reconstruction would give, and below it how far the observed signal is off, in sigma of the noise."""
    observed = array(scan.data)[:, pixel[0], pixel[1]].astype(float)
    residual.axhspan(-1, 1, color="#E4E4E4", linewidth=0)
    residual.axhline(0, color=colours.FAINT, linewidth=0.8)
    widest = 3.2
    for i, (name, r) in enumerate(reconstructions.items()):
        line = resimulated(r, scan.energies_kev, pixel)
        colour = colours.METHOD_COLOURS[i % len(colours.METHOD_COLOURS)]
        label = f"{name}, re-simulated" if small else _legend(name, r, pixel)
        axis.plot(scan.energies_kev, line, color=colour, linestyle=("-", "--", "-.", ":")[i % 4], label=label)
        sigmas = (observed - line) / (noise * np.maximum(line, 1e-9))
        if np.isfinite(sigmas).any():
            widest = max(widest, 1.1 * float(np.nanmax(np.abs(sigmas))))
        residual.plot(scan.energies_kev, sigmas, "osD^v"[i % 5], color=colour, markersize=3.5)
    residual.set_ylim(-min(widest, 12), min(widest, 12))


def _draw_legend(figure: Figure, axis: Any) -> None:
    """The legend beside the figure: what was observed and what is true first."""
    handles, names = axis.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: not names[i].startswith(("observed", "truth")))
    figure.legend(
        [handles[i] for i in order],
        [names[i] for i in order],
        loc="outside right upper",
        frameon=False,
        labelspacing=1.1,
    )


def _symbols(reconstructions: Mapping[str, Reconstruction]) -> tuple[str, ...]:
    return next(iter(reconstructions.values())).stack.symbols


def _legend(name: str, r: Reconstruction, pixel: tuple[int, int]) -> str:
    y, x = pixel
    thickness, sigma = as_tensor(r.thickness)[:, y, x], as_tensor(r.uncertainty)[:, y, x]
    lines = [
        f"{s}  {float(thickness[k]):.{_digits(sigma[k])}f} ± {float(sigma[k]):.{_digits(sigma[k])}f} nm"
        for k, s in reversed(list(enumerate(r.stack.symbols)))
    ]
    return "\n".join([f"{name}:", *lines, f"chi-square {float(as_tensor(r.chi_square)[y, x]):.2f}"])


def _digits(sigma: torch.Tensor) -> int:
    return 2 if float(sigma) < 0.1 else 1
