"""Figures of scores: ours beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled


@dataclass(frozen=True)
class ScoreBar:
    """One bar: what it is called, its score in 0..1, and whether it is a published figure."""

    label: str
    value: float
    published: bool = False


@styled
def score_figure(groups: Mapping[str, Sequence[ScoreBar]], *, score: str = "mIoU", title: str = "") -> Figure:
    """Scores as bars, a panel a group (test set, experimental structure), ours in colour and the published in grey."""
    most = max(len(bars) for bars in groups.values())
    figure = new_figure(1.0 + 4.4 * len(groups), 1.2 + 0.36 * most, title)
    axes = figure.subplots(1, len(groups), squeeze=False, sharex=True)[0]
    for axis, (name, bars) in zip(axes, groups.items(), strict=True):
        ranked = sorted(bars, key=lambda b: b.value)
        face = ["#BDBDBD" if b.published else colours.METHOD_COLOURS[0] for b in ranked]
        axis.barh(range(len(ranked)), [b.value for b in ranked], color=face, height=0.72)
        axis.set_yticks(range(len(ranked)), [b.label for b in ranked])
        for i, b in enumerate(ranked):
            inside = b.value > 0.85
            axis.text(
                b.value - 0.01 if inside else b.value + 0.01, i, f"{b.value:.3f}", va="center",
                ha="right" if inside else "left", color="white" if inside and not b.published else colours.INK,
            )  # fmt: skip
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.6, len(ranked) - 0.4)
        axis.set_xlabel(score)
        axis.set_title(name)
        axis.spines[["top", "right"]].set_visible(False)
    patches = [Patch(color=colours.METHOD_COLOURS[0]), Patch(color="#BDBDBD")]
    figure.legend(patches, ["this package", "published"], loc="outside lower center", ncols=2, frameon=False)
    return figure
