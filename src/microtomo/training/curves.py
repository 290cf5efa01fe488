"""The learning curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from microtomo.io.atomic import whole_file


def draw_curves(rows: Sequence[Mapping[str, str]], picture: Path, name: str, metric: str, score: str) -> None:
    """Loss and validation score against samples seen, from the rows of metrics.csv to a PNG.

    ``metric`` names the score in the table, ``score`` in words. A run without validation has one panel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    samples = [int(row["samples"]) for row in rows]
    curves = [("loss", "training", "#0072B2"), ("validation_loss", "validation", "#D55E00")]
    validated = any(row["validation_loss"] for row in rows)
    figure = Figure(figsize=(9 if validated else 4.8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + validated, squeeze=False)[0]
    left = panels[0]
    for key, label, colour in curves[: 1 + validated]:
        left.plot(samples, [float(row[key] or "nan") for row in rows], label=label, color=colour, marker=".")
    left.set(xlabel="samples seen", ylabel="loss", title=f"{name}: loss")
    left.legend(frameon=False)
    if validated:
        values = [float(row[f"validation_{metric}"] or "nan") for row in rows]
        panels[1].plot(samples, values, color="#D55E00", marker=".")
        panels[1].set(xlabel="samples seen", ylabel=score, title=f"{name}: validation", ylim=(None, 1.0))
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with whole_file(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
