"""``microtomo signal``: what a stack will look like at every energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.options import Force, Forward, new_file, parse_energies
from microtomo.cli.say import say
from microtomo.errors import MicrotomoError
from microtomo.registry import DEFAULT_FORWARD

FIGURES = ("signal", "contrast", "depth")


def signal(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Built-in stack or .toml file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Page (.html), or one of its figures (.png).")],
    forward: Forward = DEFAULT_FORWARD,
    energies: Annotated[
        str | None, typer.Option(help="Energies in keV: 5:35, 5:35:2 or 5,7.5,10; else the stack's.")
    ] = None,
    noise: Annotated[float, typer.Option(help="Relative noise of a pixel, for what can be seen.")] = 0.02,
    figure: Annotated[str, typer.Option(help="For .png: signal, contrast or depth.")] = "signal",
    force: Force = False,
) -> None:
    """Draw the signal of a stack against energy, the contrast of each layer, and how deep the signal comes from."""
    if output.suffix.lower() not in (".html", ".png"):
        raise MicrotomoError(f"{output}: unknown kind of file: end the name in .html or .png")
    if figure not in FIGURES:
        raise typer.BadParameter(f"{figure!r} is not one of {', '.join(FIGURES)}", param_hint="--figure")
    if not 0 < noise < 1:
        raise MicrotomoError(f"--noise {noise:g}: give a relative level above 0, 0.02 for 2 %")
    kev = None if energies is None else parse_energies(energies)

    from microtomo import __version__
    from microtomo.cli.progress import prepare
    from microtomo.io.atomic import check_output
    from microtomo.materials import load_stack
    from microtomo.physics.forward import forward_model
    from microtomo.report.signal import figures, write_page
    from microtomo.viz.figures import save_figure

    check_output(output)
    new_file(output, force)
    model = forward_model(forward, load_stack(stack), kev)
    prepare(model)
    if output.suffix.lower() == ".png":
        save_figure(figures(model, noise)[figure], output)
    else:
        write_page(model, output, noise, f"microtomo {__version__}")
    say(f"written to {output}")
