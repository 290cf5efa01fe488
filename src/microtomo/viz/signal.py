"""What a stack will look like: signal, contrast of each layer, and how deep the signal comes from, by energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from microtomo.materials import Layer, Material, Stack
from microtomo.physics.forward import ForwardModel, forward_model
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled

_PARTS = (0.0, 0.1, 0.25, 0.5, 1.0)  # of the greatest thickness: the curves
_ROWS = 81  # thicknesses of a contrast map
_DEPTHS = 240  # thicknesses of an information depth
_REACHED = 0.05  # of the largest difference to bulk material: what is left beyond the information depth
_RANGE_FACTOR, _RANGE_POWER, _DENSITY_POWER = 74.0, 1.55, 0.91
# the range of the attenuation model, 74 E^1.55 / rho^0.91 nm: thick enough for any signal to be that of bulk material


@dataclass(frozen=True)
class Contrast:
    """Change of the signal by one layer (thickness, e), relative, at thicknesses ``nm`` of it, other layers as named in
    ``others`` (empty: absent)."""

    symbol: str
    nm: np.ndarray
    change: np.ndarray
    others: str


def signals(forward: ForwardModel, layer: int, nm: np.ndarray, share: float) -> np.ndarray:
    """Signal (thickness, e) at thicknesses ``nm`` of a layer; the others have ``share`` of their greatest thickness."""
    thickness = torch.tensor(forward.stack.max_nm, dtype=torch.float64)[:, None] * share
    thickness = thickness.repeat(1, len(nm))
    thickness[layer] = torch.as_tensor(nm, dtype=torch.float64)
    return np.asarray(forward.response(thickness).T.numpy())


def contrasts(forward: ForwardModel) -> list[Contrast]:
    """Contrast of each layer, bottom to top: alone, and where there are others also with these at half their range."""
    stack = forward.stack
    result = []
    for share in (0.0, 0.5) if len(stack.layers) > 1 else (0.0,):
        for k, top in enumerate(stack.max_nm):
            nm = np.linspace(0, top, _ROWS)
            signal = signals(forward, k, nm, share)
            others = [
                f"{s} {share * d:g} nm"
                for j, (s, d) in enumerate(zip(stack.symbols, stack.max_nm, strict=True))
                if j != k
            ]
            result.append(Contrast(stack.symbols[k], nm, signal / signal[0] - 1, ", ".join(others) if share else ""))
    return result


def information_depth(name: str, stack: Stack, material: Material) -> np.ndarray:
    """Depth (e,) [nm] of a material on the stack's substrate beyond which the signal is that of the bulk material, to 5
    % of the largest difference; by the forward model of that name."""
    longest = _RANGE_FACTOR * stack.energies_kev[-1] ** _RANGE_POWER / material.density_g_cm3**_DENSITY_POWER
    layer = Layer(material=material, max_nm=min(longest, 1e5))
    alone = stack.model_copy(update={"layers": (layer,)})
    nm = np.geomspace(1e-3, 1, _DEPTHS) * layer.max_nm
    signal = signals(forward_model(name, alone), 0, np.append(0.0, nm), 0.0)
    away = np.abs(signal - signal[-1])
    far = away > _REACHED * away.max(0)
    last = len(nm) - np.argmax(far[::-1], axis=0)
    return np.asarray(np.append(0.0, nm)[np.minimum(last + 1, len(nm))])


@styled
def signal_figure(forward: ForwardModel) -> Figure:
    """Signal against energy for some thicknesses of each layer, top layer first: alone, and among the others."""
    stack = forward.stack
    shares = (0.0, 0.5) if len(stack.layers) > 1 else (0.0,)
    figure = new_figure(max(4.6, 3.7 * len(stack.layers)), 3.1 * len(shares) + 0.4)
    axes = figure.subplots(len(shares), len(stack.layers), squeeze=False, sharex=True)
    shades = _shades(len(_PARTS))
    for row, share in zip(axes, shares, strict=True):
        for axis, k in zip(row, reversed(range(len(stack.layers))), strict=True):
            nm = np.array(_PARTS) * stack.max_nm[k]
            for curve, thickness, shade in zip(signals(forward, k, nm, share), nm, shades, strict=True):
                axis.plot(stack.energies_kev, curve, "-", color=shade, linewidth=1.4, label=f"{thickness:.3g} nm")
            axis.axhline(1, color=colours.FAINT, linewidth=0.8, linestyle=":")
            axis.set_title(_among(stack, k, share))
            axis.legend(frameon=False, title=stack.symbols[k])
            _grid(axis)
        row[0].set_ylabel("signal over substrate")
    for axis in axes[-1]:
        axis.set_xlabel("beam energy [keV]")
    return figure


@styled
def contrast_figure(forward: ForwardModel, noise: float) -> Figure:
    """Change of the signal by each layer over energy and thickness; lines where it is zero, and where it is as large as
    the noise of a pixel."""
    stack, maps = forward.stack, contrasts(forward)
    columns = len(stack.layers)
    rows = len(maps) // columns
    figure = new_figure(max(4.8, 3.9 * columns), 3.1 * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for number, found in enumerate(maps):
        r, k = divmod(number, columns)
        axis = axes[r][columns - 1 - k]
        limit = max(100 * float(np.abs(found.change).max()), 1e-3)
        energies = np.asarray(stack.energies_kev)
        picture = axis.pcolormesh(
            energies, found.nm, 100 * found.change, cmap=colours.ERROR_MAP, vmin=-limit, vmax=limit, shading="gouraud",
            rasterized=True,
        )  # fmt: skip
        size = 100 * np.abs(found.change)
        if len(energies) > 1:
            if size.min() < 100 * noise < size.max():
                axis.contour(energies, found.nm, size, [100 * noise], colors=colours.INK, linewidths=0.9)
            inside = found.change[1:]
            if inside.min() < 0 < inside.max():
                axis.contour(energies, found.nm[1:], inside, [0.0], colors=colours.INK, linewidths=1.2, linestyles="--")
        axis.set_title(f"{found.symbol} {f'with {found.others}' if found.others else 'alone'}")
        axis.set_ylabel(f"{found.symbol} [nm]")
        figure.colorbar(picture, ax=axis, pad=0.02).set_label("change of signal [%]")
    for axis in axes[-1]:
        axis.set_xlabel("beam energy [keV]")
    return figure


@styled
def depth_figure(forward: ForwardModel) -> Figure:
    """Information depth against energy in the materials of the layers."""
    stack = forward.stack
    figure = new_figure(6.2, 3.8)
    axis = figure.subplots()
    for layer, colour in zip(reversed(stack.layers), colours.METHOD_COLOURS, strict=False):
        depth = information_depth(forward.name, stack, layer.material)
        axis.plot(
            stack.energies_kev, depth, "o-", color=colour, markersize=3, linewidth=1.3, label=layer.material.symbol
        )
    axis.set_yscale("log")
    axis.set_xlabel("beam energy [keV]")
    axis.set_ylabel("information depth [nm]")
    axis.legend(frameon=False, title=f"layer on {stack.substrate.symbol}")
    _grid(axis)
    return figure


def _shades(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps[colours.THICKNESS_MAP](v) for v in np.linspace(0, 0.85, count)]


def _among(stack: Stack, layer: int, share: float) -> str:
    if not share:
        return f"{stack.symbols[layer]} on {stack.substrate.symbol}"
    each = zip(stack.symbols, stack.max_nm, strict=True)
    names = [s if j == layer else f"{s} {share * d:g} nm" for j, (s, d) in enumerate(each)]
    return " on ".join([*reversed(names), stack.substrate.symbol])


def _grid(axis: Any) -> None:
    axis.grid(color="#E8E8E8", linewidth=0.6)
    axis.set_axisbelow(True)
