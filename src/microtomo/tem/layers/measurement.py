"""The measurement of layers: a row for each, and the marks of the picture that the overcoat's customers ask for.

Source: the head-overcoat paper, sections 2.2 and 3.3 and Fig. 8.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch.nn import functional

from microtomo.registry import measurement
from microtomo.scan import Array
from microtomo.tem.layers.answer import COLUMNS, LayerThickness, as_dict
from microtomo.tem.layers.edge_profiles import EdgeErrors
from microtomo.tem.layers.thickness import measure_label_image, measure_layers
from microtomo.tem.measurement import Column, Lines, Mark, Measured
from microtomo.tem.segmentation import Segmentation

_LINES_SHOWN = 40  # of one a pixel: more would hide the image
_LINE, _CENTRE = "#F0E442", "#D55E00"  # of the palette of Okabe and Ito
_CHART = ("mean_nm", "low_95_nm", "high_95_nm", "sd_nm", "lines", "layer", "status")
_CLOSEST = 1e-6  # to 0 and 1: a probability's logit is finite
_FORMS = {"mean_px": ".4f", "sd_px": ".4f", "three_line_px": ".4f"}
_FORMS |= {name: ".5f" for name in COLUMNS if name.endswith("_nm")}


@measurement("layer", task="layer", from_labels=True, chart=_CHART)
def measure_thickness(
    image: Array,
    segmentation: Segmentation,
    pixel_nm: float | None,
    *,
    shape: Annotated[str, "Centre line: straight, curved, or auto: whichever fits."] = "auto",
) -> Measured:
    """Thickness of thin layers by orthogonal lines: mean, deviation, 95 % interval, or a status that says why not.

    Every layer that crosses the image is a row. Of given labels it is the largest part of label 1, and two layers side
    by side are a status. Raises MicrotomoError for a pixel size that is not positive and an unknown shape.
    """
    answers = segmented_layers(segmentation, pixel_nm, shape)
    rows = [answer.row() for answer in answers]
    columns = tuple(
        Column(name, [None if row[name] == "" else row[name] for row in rows], _FORMS.get(name, ""))
        for name in COLUMNS[1:]
    )
    plain = [{key: value for key, value in as_dict(answer).items() if key != "image"} for answer in answers]
    captions = [caption(answer, len(answers) > 1) for answer in answers]
    return Measured(
        {"layer": columns},
        {"layers": plain},
        "; ".join(captions),
        tuple(mark for answer in answers for mark in marks(answer)),
        "\n".join(captions),
        pixel_nm,
    )


def segmented_layers(segmentation: Segmentation, pixel_nm: float | None, shape: str = "auto") -> list[LayerThickness]:
    """Every layer of a segmentation; the errors of its edges are those that its method gives, where it does.

    Raises as :func:`microtomo.tem.layers.thickness.measure_layers`.
    """
    if segmentation.method == "given":
        return measure_label_image(segmentation.labels, pixel_nm, shape=shape)
    known = segmentation.details.errors if isinstance(segmentation.details, EdgeErrors) else ()
    return measure_layers(levels(segmentation), pixel_nm, shape=shape, edge_errors=known)


def levels(segmentation: Segmentation) -> np.ndarray:
    """Probability (y, x) of the layer; where the image was binned, logits between the centres of the bins."""
    probability, n = segmentation.probability, int(segmentation.options.get("binning", 1))
    if n == 1:
        return probability
    binned = torch.from_numpy(np.ascontiguousarray(probability[::n, ::n])).clamp(_CLOSEST, 1 - _CLOSEST)
    logits = functional.interpolate(binned.logit()[None, None], scale_factor=n, mode="bilinear", align_corners=False)
    high, wide = probability.shape
    return np.asarray(logits[0, 0, :high, :wide].sigmoid().numpy())


def caption(answer: LayerThickness, numbered: bool = False) -> str:
    """One line: mean, deviation, 95 % interval and number of lines, in nm where there is a scale, or why not."""
    start = f"layer {answer.layer}: " if numbered else ""
    if not answer.status.measured:
        return f"{start}{answer.status}: no thickness. {answer.status.advice}"
    unit, per = ("px", 1.0) if answer.pixel_nm is None else ("nm", answer.pixel_nm)
    mean, sd, low, high = (per * v for v in (answer.mean, answer.sd, answer.low_95, answer.high_95))
    warning = "; no scale: give the size of a pixel in nm" if answer.pixel_nm is None else ""
    return (
        f"{start}mean {mean:.3f} {unit}, SD {sd:.3f} {unit}, 95 % {low:.3f} to {high:.3f} {unit}, "
        f"{answer.count} lines{warning}"
    )


def marks(answer: LayerThickness) -> tuple[Mark, ...]:
    """Some of the orthogonal lines, and the centre line that they stand on."""
    if answer.lines is None or answer.used is None:
        return ()
    chosen = np.nonzero(answer.used)[0]
    shown = chosen[np.linspace(0, len(chosen) - 1, min(_LINES_SHOWN, len(chosen))).astype(int)]
    feet = answer.lines.foot[shown]
    return (
        Lines(answer.lines.ends[shown], _LINE, 0.9),
        Lines(np.stack([feet[:-1], feet[1:]], axis=1), _CENTRE, 1.0),
    )
