"""Colours of every picture: one fixed colour a material, safe for colour-blind readers.

The palette is that of Okabe and Ito (2008), "Color Universal Design", plus neutral greys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from microtomo.materials import Stack

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
"""Orange, sky blue, bluish green, reddish purple, vermillion, blue, yellow."""

GREY, DARK_GREY = "#9A9A9A", "#5F5F5F"
INK, FAINT = "#222222", "#8A8A8A"
"""Text and lines."""

THICKNESS_MAP = "viridis"
UNCERTAINTY_MAP = "cividis"
SIGNAL_MAP = "gray"
ERROR_MAP = "RdBu_r"
"""Matplotlib maps: perceptually uniform for amounts, diverging about white for errors."""

METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Colours of methods in curves and bars, in their order."""

_METHODS = {
    "map": ("#0072B2", "o"), "likelihood": ("#56B4E9", "s"), "tikhonov": ("#9A9A9A", "v"), "conv3": ("#5F5F5F", "X"),
    "unet": ("#D55E00", "^"), "stacked-unet": ("#E69F00", "D"), "unet3d": ("#CC79A7", "P"), "uvnet": ("#009E73", "*"),
}  # fmt: skip

STATUS_COLOURS = ("#EDEDED", "#D55E00", "#56B4E9", "#CC79A7", "#FFFFFF", "#3D3D3D")
"""Colours of the codes of :class:`microtomo.scan.Status`, in their order."""

_FIXED = {
    "Au": "#E69F00", "Al": "#56B4E9", "Si": GREY, "C": "#3D3D3D", "Cu": "#D55E00", "Ag": "#CFCFCF", "Pt": "#0072B2",
    "W": "#009E73", "Ti": "#CC79A7", "Cr": "#009E73", "Ni": "#F0E442", "Fe": "#D55E00", "Co": "#0072B2",
    "Ge": "#CC79A7", "Ta": "#009E73",
}  # fmt: skip


def material_colours(symbols: Sequence[str]) -> dict[str, str]:
    """Colour ``#RRGGBB`` of each material of one picture; none is given twice.

    Built-in materials have a fixed colour. Other materials, and the later of two that share one, take the first free
    colour of the palette from a place that depends on the symbol alone, so that pictures agree.
    """
    symbols = list(dict.fromkeys(symbols))
    colours: dict[str, str] = {}
    for symbol in symbols:
        if symbol in _FIXED and _FIXED[symbol] not in colours.values():
            colours[symbol] = _FIXED[symbol]
    for symbol in symbols:
        if symbol not in colours:
            start = crc32(symbol.encode()) % len(PALETTE)
            order = [*PALETTE[start:], *PALETTE[:start], GREY, DARK_GREY, "#3D3D3D", "#CFCFCF"]
            free = [c for c in order if c not in colours.values()]
            colours[symbol] = free[0] if free else f"#{crc32(symbol.encode()) & 0xFFFFFF:06X}"
    return {symbol: colours[symbol] for symbol in symbols}


def stack_colours(stack: Stack) -> tuple[str, tuple[str, ...]]:
    """Colours of a stack: substrate, and its layers bottom to top. A layer of the substrate's own material
    keeps its colour; the substrate then takes a darker grey."""
    colours = material_colours([*stack.symbols, stack.substrate.symbol])
    layers = tuple(colours[s] for s in stack.symbols)
    substrate = colours[stack.substrate.symbol]
    return (DARK_GREY if stack.substrate.symbol in stack.symbols else substrate), layers


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0..255) of ``#RRGGBB``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


class MethodStyle(NamedTuple):
    """How a method is drawn in curves: colour and Matplotlib marker."""

    colour: str
    marker: str


def method_style(name: str) -> MethodStyle:
    """The fixed style of a built-in method, so that all pictures agree; others get one from their name alone."""
    if name in _METHODS:
        return MethodStyle(*_METHODS[name])
    place = crc32(name.encode())
    return MethodStyle(METHOD_COLOURS[place % len(METHOD_COLOURS)], "<>hpd8"[place % 6])
