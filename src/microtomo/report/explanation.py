"""The page on what a network looks at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from microtomo.models.explain.attribution import Attribution, attributions, explained_pixels
from microtomo.models.explain.kernels import KernelFit, first_kernels, fit_kernel
from microtomo.models.explain.layers import (
    FeatureSpace,
    ReceptiveField,
    activations,
    cam_layers,
    chosen_layers,
    convolutions,
    feature_space,
    receptive_field,
)
from microtomo.models.explain.subject import Subject
from microtomo.report.page import Picture, Report, Section, Table
from microtomo.viz import explanation as draw
from microtomo.viz.figures import save_figure

_DPI = 110  # as the pictures of other pages
MOST_FITS = 32
"""Kernels that are fitted at most: each takes a few hundredths of a second."""


@dataclass(frozen=True)
class Explanation:
    """All that was found on a network for one class of one image."""

    subject: Subject
    of: int
    inside: np.ndarray
    fits: Sequence[KernelFit]
    maps: dict[str, np.ndarray]
    found: Sequence[Attribution]
    field: ReceptiveField
    space: FeatureSpace

    @property
    def class_name(self) -> str:
        """Name of the explained class."""
        return self.subject.classes[self.of]

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kinds = [term.kind for fit in self.fits for term in fit.terms]
        return {
            "method": self.subject.name,
            "class": self.class_name,
            "share": float(self.inside.mean()),
            "parameters": self.subject.network.parameters_count,
            "receptive_field_px": self.field.side_px,
            "reach_px": self.field.reach_px,
            "kernels": len(self.fits),
            "kernel_side_px": int(self.fits[0].kernel.shape[0]) if self.fits else 0,
            "explained_by_fits": float(np.mean([fit.explained for fit in self.fits])) if self.fits else None,
            "terms": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "attributions": {
                one.kind: {"deletion_gain": one.deletion.gain, "rank_correlation_random_weights": one.random}
                for one in self.found
            },
        }


def explained(
    subject: Subject,
    class_name: str | None = None,
    window: int = 256,
    seed: int = 0,
    step: Callable[[str], None] = print,
) -> Explanation:
    """Look at a network from all sides; ``step`` hears what comes next. Raises MicrotomoError for an unknown class."""
    of = subject.index(class_name)
    subject = subject.window(window, of)
    step("kernels")
    kernels = first_kernels(subject.network)
    strongest = np.argsort(-np.linalg.norm(kernels.reshape(len(kernels), -1), axis=1))[:MOST_FITS]
    fits = [fit_kernel(kernels[k]) for k in strongest]
    step("activations")
    order = convolutions(subject)
    layers = chosen_layers(order)
    maps = activations(subject, layers)
    step("attributions")
    found = attributions(subject, of, cam_layers(order), seed)
    step("receptive field")
    field = receptive_field(subject, of, seed=seed)
    step("features")
    last = list(cam_layers(order).values())[-1] if cam_layers(order) else list(order)[-1]
    space = feature_space(subject, of, last, seed=seed)
    inside = explained_pixels(subject, of).numpy()
    return Explanation(subject, of, inside, fits, maps, found, field, space)


def explanation_report(one: Explanation, image: str, folder: Path) -> Report:
    """The page; its pictures are drawn into ``folder``."""
    subject, field = one.subject, one.field
    lead = (
        f"What {subject.name} looks at when it finds {one.class_name} on {image}, in a window of "
        f"{one.inside.shape[0]} x {one.inside.shape[1]} pixels as the network sees them. "
        f"{subject.network.parameters_count:,} parameters; {one.inside.mean():.1%} of the window is explained."
    )

    def picture(name: str, figure: Figure, caption: str, half: bool = False) -> Picture:
        return Picture(save_figure(figure, folder / f"{name}.png", _DPI), caption, half)

    sections = [
        Section(
            "Where it looks",
            _ATTRIBUTION,
            _attribution_table(one.found),
            pictures=[
                picture(
                    "maps", draw.attribution_figure(subject.shown, one.inside, one.found), "How much pixels count."
                ),
                picture("deletion", draw.deletion_figure(one.found), "Deletion curves.", True),
                picture("field", draw.receptive_figure(field), _field_words(field), True),
            ],
        ),
        *_kernel_section(one, picture),
        Section(
            "What its layers answer",
            "Channels that vary most, strongest first, from the first layer to the last.",
            pictures=[picture("layers", draw.activation_figure(one.maps), "Activations.")] if one.maps else [],
        ),
        Section(
            "Where pixels lie in its features",
            "Features of the last layer at pixels drawn at random, in the plane of their first two principal "
            "components. Classes that lie apart are told apart easily; errors lie where they meet.",
            pictures=[picture("features", draw.feature_figure(one.space, one.class_name), "Feature space.")],
        ),
    ]
    return Report(f"What {subject.name} looks at", lead, sections, "microtomo explain")


_ATTRIBUTION = (
    "Seg-Grad-CAM weighs the channels of a layer by their gradient; integrated gradients follow the image from its "
    "blurred self. Two checks say whether a map can be trusted: deleting (blurring) the pixels that it calls decisive "
    "must lower the score faster than chance does, so that the gain is above 0; and the map of a network with random "
    "weights must look different, so that the rank correlation is near 0: a map that stays the same shows the image, "
    "not what the network learnt."
)


def _kernel_section(one: Explanation, picture: Callable[..., Picture]) -> list[Section]:
    if not one.fits:
        return [Section("What its first kernels are", "The network has no convolution wider than a pixel.")]
    counts = one.summary()["terms"]
    side = one.fits[0].kernel.shape[0]
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none but constants"
    share = one.summary()["explained_by_fits"]
    text = (
        f"Kernels of {side} x {side} pixels, the {len(one.fits)} strongest of the first layer, as sums of Gabor, "
        f"Gaussian and Laplacian-of-Gaussian (LoG) functions: {words}. They explain {share:.0%} of the kernels' "
        "variance on the mean. A kernel gets another function only where that pays for its parameters."
    )
    drawn = picture("kernels", draw.kernel_figure(one.fits), "Kernels, and below each its fit and what that explains.")
    return [Section("What its first kernels are", text, pictures=[drawn])]


def _field_words(field: ReceptiveField) -> str:
    return (
        f"Measured receptive field: 95 % of the squared gradient lies within {field.side_px} x {field.side_px} pixels; "
        f"the farthest pixel that counts at all is {field.reach_px} away."
    )


def _attribution_table(found: Sequence[Attribution]) -> Table:
    rows = [[one.kind, f"{one.deletion.gain:+.3f}", f"{one.random:+.2f}"] for one in found]
    return Table(["map", "deletion gain over chance", "rank correlation with random weights"], rows)


def as_json(one: Explanation) -> str:
    """The summary as JSON."""
    return json.dumps(one.summary())
