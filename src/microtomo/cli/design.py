"""``microtomo design``: which beam energies to measure at, and the precision that they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import Force, Forward, new_file
from microtomo.cli.say import console, say, tell
from microtomo.errors import MicrotomoError
from microtomo.registry import DEFAULT_FORWARD

if TYPE_CHECKING:
    from microtomo.inverse.design import Check, Choice, Question
    from microtomo.materials import Stack
    from microtomo.report.design import Curves, Design

_SUFFIXES = (".html", ".png", ".json")
_MOST = 40  # images of the longest choice


def design(
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".html, .png or .json to write.")] = None,
    stack: Annotated[str, typer.Option(help="Built-in stack or .toml file.")] = "au-al-si",
    forward: Forward = DEFAULT_FORWARD,
    energies: Annotated[
        str | None, typer.Option(help="Energies in keV to choose from: 5:35, 5:35:2 or 5,7.5,10; else the stack's.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many energies to choose.")] = 4,
    noise: Annotated[
        float | None, typer.Option(help="Relative noise of an image of the scan of all energies; else 0.02.")
    ] = None,
    electrons: Annotated[
        float | None, typer.Option(help="Instead, or too: electrons that such an image detects a pixel of substrate.")
    ] = None,
    thickness: Annotated[
        list[str] | None,
        typer.Option(metavar="NM,NM", help="Thicknesses, bottom to top; may be repeated. Else all of the range."),
    ] = None,
    dose: Annotated[
        str, typer.Option(help="What fewer images keep: the dose of the scan (total), or of an image (image).")
    ] = "total",
    check: Annotated[
        int, typer.Option(min=0, help="Simulate and reconstruct so many images of each kind at the chosen energies.")
    ] = 0,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Choose the beam energies that tell most of a stack, and say how precise a scan of them can be.

    Errors are root mean squares over the thicknesses: what single pixels can tell (Cramer-Rao bound, within the
    range of each layer).
    """
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise MicrotomoError(f"{output}: unknown kind of file: end the name in {', '.join(_SUFFIXES)}")

    from microtomo.cli.progress import prepare
    from microtomo.inverse.design import evenly_spaced, promised, run_checks
    from microtomo.io.atomic import check_output
    from microtomo.physics.forward import forward_model
    from microtomo.report.design import Design

    if output is not None:
        check_output(output)
        new_file(output, force)
    question = _question(stack, forward, energies, noise, electrons, thickness, dose)
    count = len(question.stack.energies_kev)
    if images > min(count, _MOST):
        raise MicrotomoError(f"--images {images}: there are {count} energies: choose at most {min(count, _MOST)}")
    prepare(forward_model(question.forward, question.stack))
    curves = _curves(question)
    chosen = (curves.best if dose == "total" else curves.best_per_image)[images - 1]
    others = {"evenly spaced": evenly_spaced(question, images), "all": promised(question, range(count))}
    checks: list[Check] = []
    if check:
        checks = run_checks(question, {"best": chosen, **others}, check, _tell_check)
    made = Design(question, curves, chosen, others, checks, check)
    if output is not None:
        _write(made, output)
        tell(f"written to {output}")
    if as_json:
        say(json.dumps(_told(made)))
    else:
        _show(made)


def _question(
    stack: str,
    forward: str,
    energies: str | None,
    noise: float | None,
    electrons: float | None,
    thickness: list[str] | None,
    dose: str,
) -> Question:
    from microtomo.cli.options import parse_energies
    from microtomo.inverse.design import Question, typical_thickness
    from microtomo.materials import check_energies, load_stack
    from microtomo.physics.detector import Detector

    chosen = load_stack(stack)
    if energies is not None:
        kev = parse_energies(energies)
        try:
            check_energies(kev)
        except ValueError as error:
            raise MicrotomoError(f"--energies {energies}: {error}") from None
        chosen = chosen.model_copy(update={"energies_kev": kev})
    if noise is None:
        noise = 0.02 if electrons is None else 0.0
    if not 0 <= noise <= 1 or (noise == 0 and electrons is None):
        raise MicrotomoError(f"--noise {noise:g}: give a relative level above 0, 0.02 for 2 %")
    if electrons is not None and not 0 < electrons < float("inf"):
        raise MicrotomoError(f"--electrons {electrons:g}: give a number above 0")
    maps = typical_thickness(chosen) if not thickness else _thicknesses(thickness, chosen)
    return Question(chosen, maps, forward, Detector(noise=noise, electrons_per_pixel=electrons), dose)


def _thicknesses(given: list[str], stack: Stack) -> Any:
    import torch

    rows = []
    for text in given:
        try:
            row = [float(part) for part in text.split(",")]
        except ValueError:
            row = []
        if len(row) != len(stack.layers) or not all(0 <= d <= m for d, m in zip(row, stack.max_nm, strict=True)):
            ranges = ", ".join(f"{s} 0 to {m:g}" for s, m in zip(stack.symbols, stack.max_nm, strict=True))
            raise MicrotomoError(f"--thickness {text}: give a number for each layer, bottom to top: {ranges} nm")
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).T


def _curves(question: Question) -> Curves:
    """Both curves of best choices with the evenly spaced ones; a bar on stderr meanwhile."""
    from dataclasses import replace

    from microtomo.cli.progress import progress
    from microtomo.inverse.design import best_choices, best_dose, evenly_spaced
    from microtomo.report.design import Curves

    count = min(len(question.stack.energies_kev), _MOST)
    a_scan, an_image = replace(question, dose="total"), replace(question, dose="image")
    with progress(2 * count, "choices") as show:
        chosen: list[Choice] = []

        def advance(choice: Choice) -> None:
            chosen.append(choice)
            show(len(chosen))

        best, best_per_image = (best_choices(q, count, advance) for q in (a_scan, an_image))
        dose, least = best_dose(question)
    even = [evenly_spaced(a_scan, k) for k in range(1, count + 1)]
    return Curves(best, even, best_per_image, dose.tolist(), least)


def _told(design: Design) -> dict[str, Any]:
    from dataclasses import asdict

    question, curves = design.question, design.curves

    def plain(choice: Choice) -> dict[str, Any]:
        return {"energies_kev": choice.energies_kev, "error_nm": choice.error_nm}

    each = zip(curves.best, curves.even, curves.best_per_image, strict=True)
    return {
        "stack": question.stack.name,
        "layers": question.stack.symbols,
        "forward": question.forward,
        "noise": question.detector.noise,
        "electrons_per_pixel": question.detector.electrons_per_pixel,
        "dose": question.dose,
        "candidates_kev": question.stack.energies_kev,
        "best": plain(design.chosen),
        **{name.replace(" ", "_"): plain(choice) for name, choice in design.others.items()},
        "best_dose": {"share": [round(d / sum(curves.dose), 4) for d in curves.dose], "error_nm": curves.least_nm},
        "curve": [
            {"images": i, "best": plain(a), "evenly_spaced": plain(b), "best_at_equal_dose_an_image": plain(c)}
            for i, (a, b, c) in enumerate(each, 1)
        ],
        "check": {"samples": design.samples, "results": [asdict(c) for c in design.checks]} if design.checks else None,
    }


def _write(design: Design, output: Path) -> None:
    from microtomo import __version__
    from microtomo.io.atomic import whole_file, writing
    from microtomo.report.design import choice_figure, write_page
    from microtomo.viz.figures import save_figure

    if output.suffix.lower() == ".json":
        with whole_file(output) as temporary, writing(output):
            temporary.write_text(json.dumps(_told(design), indent=1) + "\n", encoding="utf-8")
    elif output.suffix.lower() == ".png":
        save_figure(choice_figure(design), output)
    else:
        write_page(design, output, f"microtomo {__version__}")


def _show(design: Design) -> None:
    from rich.table import Table

    from microtomo.report.design import about, check_table, choice_table, heading

    shown = console()
    tables = [(heading(design.question), choice_table(design))]
    tables += [(f"Checked on {design.samples} images of each kind", check_table(design))] if design.checks else []
    for title, content in tables:
        table = Table(title=title)
        for i, name in enumerate(content.header):
            table.add_column(name, justify="right" if i != 1 else "left")
        for row in content.rows:
            table.add_row(*map(str, row))
        shown.print(table)
    shown.print(about(design))


def _tell_check(check: Check) -> None:
    errors = ", ".join(f"{v:.3g}" for v in check.rmse_nm)
    tell(f"{check.structure}, {check.name} {len(check.energies_kev)} energies, {check.method}: {errors} nm")
