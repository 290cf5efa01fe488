"""Which energies a scan needs, shown: the errors that the best few promise, which they are, and where the dose goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from microtomo.inverse.design import Check, Choice, Question
from microtomo.report.page import Picture, Report, Section, Table, write_report
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, save_figure, styled

_SHOWN = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)  # numbers of images in the table, beside the chosen and the largest
_UNSEEN = 0.9  # of the deviation that a guess within the range has


@dataclass(frozen=True)
class Curves:
    """Choices of 1, 2, ... images: the best and the evenly spaced at equal dose of the scan, the best at equal dose of
    an image; and the dose of each energy (e,) that is best of all, with the errors that it promises (l,) [nm]."""

    best: Sequence[Choice]
    even: Sequence[Choice]
    best_per_image: Sequence[Choice]
    dose: Sequence[float]
    least_nm: Sequence[float]


@dataclass(frozen=True)
class Design:
    """A question with all that answers it: the curves, the chosen energies among others to compare with, and checks by
    simulation on ``samples`` images of each kind, where there are any."""

    question: Question
    curves: Curves
    chosen: Choice
    others: dict[str, Choice] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    samples: int = 0


@styled
def choice_figure(design: Design) -> Figure:
    """Error against number of images for each layer (top layer first), the energies of every choice with the chosen
    ones marked, and the best distribution of the dose over the energies."""
    figure = new_figure(max(9.2, 3.6 * len(design.question.stack.layers)), 7.4, heading(design.question))
    grid = figure.add_gridspec(2, 1, height_ratios=(1.15, 1))
    _draw_errors(figure.add_subfigure(grid[0]), design)
    which, dose = figure.add_subfigure(grid[1]).subplots(1, 2)
    _draw_energies(which, design)
    _draw_dose(dose, design)
    return figure


def _draw_errors(figure: SubFigure, design: Design) -> None:
    """Error of each layer against the number of images, top layer first."""
    stack, curves, chosen = design.question.stack, design.curves, design.chosen
    layers = len(stack.layers)
    lines = (
        ("best energies, equal dose a scan", curves.best, "o-", colours.METHOD_COLOURS[0]),
        ("evenly spaced, equal dose a scan", curves.even, "s--", colours.METHOD_COLOURS[1]),
        ("best energies, equal dose an image", curves.best_per_image, "^:", colours.METHOD_COLOURS[2]),
    )
    for axis, k in zip(figure.subplots(1, layers, squeeze=False)[0], reversed(range(layers)), strict=True):
        for name, choices, mark, colour in lines:
            images = [len(c.indices) for c in choices]
            error = [c.error_nm[k] for c in choices]
            axis.plot(images, error, mark, color=colour, label=name, markersize=3.5, linewidth=1.2)
        name = "best distribution of the dose"
        axis.axhline(curves.least_nm[k], color=colours.INK, linewidth=0.9, linestyle="-.", label=name)
        axis.plot(len(chosen.indices), chosen.error_nm[k], "o", color=colours.INK, fillstyle="none", markersize=10)
        errors = [c.error_nm[k] for _, choices, _, _ in lines for c in choices if len(c.indices) > layers]
        axis.set_ylim(0, 1.2 * max([*errors, chosen.error_nm[k], curves.least_nm[k]]))
        axis.set_title(f"{stack.symbols[k]}, 0 to {stack.max_nm[k]:g} nm")
        axis.set_ylabel(f"error of {stack.symbols[k]} [nm]")
        axis.set_xlabel("number of images")
        axis.set_xlim(0, len(curves.best) + 1)
        _tidy(axis)
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)


def _draw_energies(which: Any, design: Design) -> None:
    """The energies of the best choice of each number of images, the chosen ones in circles."""
    curves, chosen = design.curves, design.chosen
    kind = "scan" if design.question.dose == "total" else "image"
    choices = curves.best if kind == "scan" else curves.best_per_image
    colour = colours.METHOD_COLOURS[0 if kind == "scan" else 2]  # that of its curve
    points = np.array([(e, len(c.indices)) for c in choices for e in c.energies_kev])
    which.plot(points[:, 0], points[:, 1], "s", color=colour, markersize=3.2)
    rings = {"color": colours.INK, "fillstyle": "none", "markersize": 7}
    which.plot(chosen.energies_kev, [len(chosen.indices)] * len(chosen.indices), "o", **rings)
    which.set_title(f"best energies, equal dose {'an' if kind == 'image' else 'a'} {kind}; circles: chosen")
    which.set_xlabel("beam energy [keV]")
    which.set_ylabel("number of images")
    which.set_ylim(0, len(curves.best) + 1)
    _energy_axis(which, design.question.stack.energies_kev)


def _draw_dose(dose: Any, design: Design) -> None:
    """The best distribution of the dose over the energies."""
    stack, curves = design.question.stack, design.curves
    step = min(np.diff(stack.energies_kev), default=1.0)
    share = np.asarray(curves.dose) / sum(curves.dose)
    dose.bar(stack.energies_kev, share, width=0.8 * step, color=colours.DARK_GREY)
    dose.set_title("best distribution of the dose")
    dose.set_xlabel("beam energy [keV]")
    dose.set_ylabel("share of the dose")
    _energy_axis(dose, stack.energies_kev)
    dose.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _energy_axis(axis: Any, energies_kev: Sequence[float]) -> None:
    step = min(np.diff(energies_kev), default=1.0)
    axis.set_xlim(energies_kev[0] - step, energies_kev[-1] + step)
    _tidy(axis)


def _tidy(axis: Any) -> None:
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(color="#E8E8E8", linewidth=0.6)
    axis.set_axisbelow(True)


def heading(question: Question) -> str:
    """What was asked, in a line."""
    detector = question.detector
    noise = [f"{100 * detector.noise:.3g} % noise"] if detector.noise else []
    if detector.electrons_per_pixel is not None:
        noise.append(f"{detector.electrons_per_pixel:g} electrons a pixel")
    return f"Energies for {question.stack.name}: {question.forward}, {' and '.join(noise)}"


def about(design: Design) -> str:
    """What the figures mean, and what the best distribution of the dose is."""
    stack, curves = design.question.stack, design.curves
    shares = [(e, d / sum(curves.dose)) for e, d in zip(stack.energies_kev, curves.dose, strict=True)]
    most = ", ".join(f"{e:g} keV {s:.0%}" for e, s in shares if s >= 0.01)
    unseen = [
        symbol
        for symbol, top, least in zip(stack.symbols, stack.max_nm, curves.least_nm, strict=True)
        if least > _UNSEEN * top / 12**0.5
    ]
    blind = (
        f"\n\nSingle pixels tell next to nothing of {' and '.join(unseen)}, whatever the energies." if unseen else ""
    )
    return (
        f"Errors are root mean squares over {design.question.thickness.shape[1]} combinations of thicknesses, as "
        "single pixels can have them at best. The noise is that of an image of a scan of all "
        f"{len(stack.energies_kev)} energies. Equal dose a scan: fewer images share the dose of all, so each has less "
        "noise. Equal dose an image: every image keeps its noise.\n\n"
        f"Best distribution of the dose of a scan: {most}; error {_errors(design, curves.least_nm)}, "
        "least for all layers together, each in units of its range.\n\n"
        f"Best {len(design.chosen.indices)}, equal dose {'a scan' if design.question.dose == 'total' else 'an image'}: "
        f"{_list(design.chosen.energies_kev)} keV; error {_errors(design, design.chosen.error_nm)}."
    ) + blind


def choice_table(design: Design) -> Table:
    """Errors [nm] by number of images."""
    symbols, curves = design.question.stack.symbols, design.curves
    header = ["images", "best energies, keV", *(f"{s}, nm" for s in symbols)]
    header += [f"evenly spaced: {s}, nm" for s in symbols] + [f"equal dose an image: {s}, nm" for s in symbols]
    rows = []
    for best, even, per_image in zip(curves.best, curves.even, curves.best_per_image, strict=True):
        count = len(best.indices)
        if count in (*_SHOWN, len(design.chosen.indices), len(curves.best)):
            errors = (*best.error_nm, *even.error_nm, *per_image.error_nm)
            rows.append([str(count), _runs(best), *(f"{v:.3g}" for v in errors)])
    return Table(header, rows)


def check_table(design: Design) -> Table:
    """Errors [nm] of reconstructions beside those promised."""
    symbols = design.question.stack.symbols
    header = ["structure", "energies", "method", *(f"{s}, nm" for s in symbols)]
    header += [f"promised: {s}, nm" for s in symbols]
    rows = []
    for c in design.checks:
        promise = [""] * len(symbols) if c.promised_nm is None else [f"{v:.3g}" for v in c.promised_nm]
        name = f"{c.name} {len(c.energies_kev)}"
        rows.append([c.structure, name, c.method, *(f"{v:.3g}" for v in c.rmse_nm), *promise])
    return Table(header, rows)


def write_page(design: Design, path: str | Path, footer: str = "") -> Path:
    """Figure, tables and words as one HTML file. Raises MicrotomoError where it cannot be written."""
    with TemporaryDirectory() as folder:
        picture = Picture(
            save_figure(choice_figure(design), Path(folder) / "choice.png"), "Errors, energies and the best dose."
        )
        sections = [Section("Promised errors", about(design), choice_table(design), pictures=[picture])]
        if design.checks:
            text = (
                f"Root-mean-square errors of reconstructions from simulated scans of these energies alone, "
                f"{design.samples} images of each kind. Patches have the thicknesses that the promises are made for: "
                "likelihood, pixel by pixel, should keep them, map has the neighbours to help. Lithography is random "
                "shapes; layers may be absent there."
            )
            sections.append(Section("Checked by simulation", text, check_table(design)))
        return write_report(Report(heading(design.question), "", sections, footer), path)


def _errors(design: Design, values: Sequence[float]) -> str:
    return ", ".join(f"{s} {v:.3g} nm" for s, v in zip(design.question.stack.symbols, values, strict=True))


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)


def _runs(choice: Choice) -> str:
    """Energies of a choice, neighbours in the list from three on as ``5 to 9``."""
    runs: list[list[int]] = []
    for at, i in enumerate(choice.indices):
        if runs and choice.indices[at - 1] == i - 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    kev = choice.energies_kev
    return ", ".join(
        f"{kev[run[0]]:g} to {kev[run[-1]]:g}" if len(run) > 2 else _list([kev[at] for at in run]) for run in runs
    )
