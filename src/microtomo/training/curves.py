"""The learning curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from microtomo.output import whole_file


def draw_curves(rows: Sequence[Mapping[str, str]], picture: Path, name: str) -> None:
    """Loss and validation mIoU against samples seen, from the rows of metrics.csv to a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    samples = [int(row["samples"]) for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key, label, colour in (("loss", "training", "#0072B2"), ("validation_loss", "validation", "#D55E00")):
        left.plot(samples, [float(row[key] or "nan") for row in rows], label=label, color=colour, marker=".")
    left.set(xlabel="samples seen", ylabel="loss", title=f"{name}: loss")
    left.legend(frameon=False)
    right.plot(samples, [float(row["validation_miou"] or "nan") for row in rows], color="#D55E00", marker=".")
    right.set(xlabel="samples seen", ylabel="voxel mIoU", title=f"{name}: validation", ylim=(None, 1.0))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with whole_file(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
