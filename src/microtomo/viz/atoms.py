"""Picture of the atoms and bonds of graphene on a micrograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from microtomo.viz.figures import new_figure, styled
from microtomo.viz.micrographs import grey

if TYPE_CHECKING:
    from microtomo.tem.graphene.atoms import Network

_FIVE, _SEVEN = "#56B4E9", "#E69F00"


@styled
def network_figure(image: np.ndarray, network: Network, mask: np.ndarray | None = None, title: str = "") -> Figure:
    """Bonds coloured by their angle modulo 60 degrees over the image (y, x), atoms as dots, defect rings marked.

    The contaminant ``mask`` (y, x) is shaded in vermillion. Axes are in nm.
    """
    figure = new_figure(7.6, 6.4 * image.shape[0] / image.shape[1] + 0.4, title)
    axes, nm = figure.subplots(), network.pixel_nm
    extent = (-0.5 * nm, (image.shape[1] - 0.5) * nm, (image.shape[0] - 0.5) * nm, -0.5 * nm)
    axes.imshow(grey(image), cmap="gray", vmin=0, vmax=255, extent=extent)
    if mask is not None and mask.any():
        shade = np.zeros((*mask.shape, 4), dtype=np.float32)
        shade[mask] = (0.835, 0.369, 0.0, 0.35)
        axes.imshow(shade, extent=extent)
    places = network.atoms[:, ::-1] * nm
    lines = LineCollection(
        list(places[network.bonds]), cmap="twilight", linewidths=1.1
    )  # a cyclic map: 0 is 60 degrees
    lines.set_array(network.angles)
    lines.set_clim(0, 60)
    axes.add_collection(lines)
    axes.plot(*places.T, ".", color="white", markersize=1.5)
    handles = []
    for size, colour in ((5, _FIVE), (7, _SEVEN)):
        of = places[network.ring_of == size]
        axes.plot(*of.T, "o", color=colour, markersize=3)
        count = network.rings.get(size, 0)
        handles.append(Line2D([], [], marker="o", linestyle="", color=colour, label=f"{count} rings of {size}"))
    axes.legend(handles=handles, loc="upper right")
    axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="x [nm]", ylabel="y [nm]")
    figure.colorbar(lines, ax=axes, label="bond angle modulo 60°", shrink=0.8, ticks=(0, 15, 30, 45, 60))
    return figure
