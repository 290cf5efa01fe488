"""The picture that the overcoat's customers ask for: the mask over the image, its orthogonal lines, the numbers on top.

Source: the head-overcoat paper, Fig. 8.
"""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.thickness import LayerThickness

_MASK = (0.0, 0.62, 0.45, 0.35)  # bluish green of Okabe and Ito
_LINE, _CENTRE = "#F0E442", "#D55E00"
_LINES_SHOWN = 40  # of one a pixel: more would hide the image
_SIDE_INCHES = 6.0
_BAR_NM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


def thickness_figure(
    image: np.ndarray, answers: LayerThickness | list[LayerThickness], *, name: str = "", lines: int = _LINES_SHOWN
) -> Figure:
    """Image (y, x), mask and ``lines`` of the orthogonal lines; on top file name, mean, deviation, interval.

    Where nothing was measured the title says why. Raises MicrotomoError for a mask of another size than the image.
    """
    layers = [answers] if isinstance(answers, LayerThickness) else list(answers)
    high, wide = image.shape
    scale = _SIDE_INCHES / max(high, wide)
    header = 0.3 + 0.17 * len(layers)
    figure = Figure(figsize=(max(wide * scale, 3.5), high * scale + header))
    FigureCanvasAgg(figure)
    top = 1 - header / figure.get_figheight()
    axes = figure.add_axes((0.01, 0.01, 0.98, top - 0.01))
    black, white = np.percentile(image, (0.5, 99.5))
    axes.imshow(image, cmap="gray", vmin=black, vmax=max(white, black + 1e-9), interpolation="nearest")
    for answer in layers:
        _draw(axes, answer, image.shape, lines)
    if layers and layers[0].pixel_nm is not None:
        _scale_bar(axes, image.shape, layers[0].pixel_nm)
    axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5))
    axes.axis("off")
    heading = name or (layers[0].image if layers else "")
    text = "\n".join([heading, *(caption(answer, len(layers) > 1) for answer in layers)])
    figure.text(0.5, 1 - 0.06 / figure.get_figheight(), text, ha="center", va="top", fontsize=9)
    return figure


def caption(answer: LayerThickness, numbered: bool = False) -> str:
    """One line: mean, deviation, 95 % interval and number of lines, in nm where there is a scale, or the status."""
    start = f"layer {answer.layer}: " if numbered else ""
    if not answer.status.measured:
        return f"{start}{answer.status}: no thickness"
    unit, per = ("px", 1.0) if answer.pixel_nm is None else ("nm", answer.pixel_nm)
    mean, sd, low, high = (per * v for v in (answer.mean, answer.sd, answer.low_95, answer.high_95))
    warning = "   no scale" if answer.pixel_nm is None else ""
    return (
        f"{start}MT {mean:.4g} {unit}   SD {sd:.2g} {unit}   95 % {low:.4g} to {high:.4g} {unit}   "
        f"{answer.count} lines, {answer.shape}{warning}"
    )


def _draw(axes: object, answer: LayerThickness, shape: tuple[int, ...], lines: int) -> None:
    if answer.mask is None:
        return
    if answer.mask.shape != shape:
        raise MicrotomoError(
            f"the image is {shape} but the mask is {answer.mask.shape}: give the image it was made from"
        )
    shade = np.zeros((*shape, 4), dtype=np.float32)
    shade[answer.mask] = _MASK
    axes.imshow(shade, interpolation="nearest")  # type: ignore[attr-defined]
    if answer.lines is None or answer.used is None:
        return
    chosen = np.nonzero(answer.used)[0]
    shown = chosen[np.linspace(0, len(chosen) - 1, min(lines, len(chosen))).astype(int)]
    ends = answer.lines.ends[shown][..., ::-1]
    axes.add_collection(LineCollection(list(ends), colors=_LINE, linewidths=0.9))  # type: ignore[attr-defined]
    middle = answer.lines.foot[chosen]
    axes.plot(middle[:, 1], middle[:, 0], color=_CENTRE, linewidth=1.0, linestyle="--")  # type: ignore[attr-defined]


def _scale_bar(axes: object, shape: tuple[int, ...], pixel_nm: float) -> None:
    """A bar in the lower left corner, as long as a round number of nm, at most a quarter of the image."""
    lengths = [n for n in _BAR_NM if n / pixel_nm <= 0.25 * shape[1]]
    if not lengths:
        return
    nm, left, low = lengths[-1], 0.04 * shape[1], 0.95 * shape[0]
    axes.plot([left, left + nm / pixel_nm], [low, low], color="white", linewidth=3, solid_capstyle="butt")  # type: ignore[attr-defined]
    label = f"{nm} nm" if nm < 1000 else f"{nm // 1000} µm"
    axes.text(  # type: ignore[attr-defined]
        left + 0.5 * nm / pixel_nm, low - 0.012 * shape[0], label, color="white", ha="center", va="bottom", fontsize=8,
        bbox={"facecolor": "black", "alpha": 0.4, "pad": 1.5, "linewidth": 0},
    )  # fmt: skip
