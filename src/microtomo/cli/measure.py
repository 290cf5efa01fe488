"""``microtomo measure``: numbers from micrographs, a sub-command for each measurement of the registry."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from microtomo.cli.verb import Verb

if TYPE_CHECKING:
    from microtomo.registry import Measurement


class _Measurements(TyperGroup):
    """Looks its sub-commands up when they are asked for: the registry takes a while to fill."""

    @property
    def commands(self) -> Any:
        """Sub-commands by name."""
        return typer.main.get_group(measurements()).commands

    @commands.setter
    def commands(self, value: Any) -> None:
        pass  # the registry has them


measure = typer.Typer(
    cls=_Measurements,
    no_args_is_help=True,
    help="Measure what is on micrographs: tables with units, a summary and a picture.",
)

_FLAGS = (
    ("force", "--force", "Write over files that are there already."),
    ("as_json", "--json", "Print the summary as JSON."),
)


def measurements() -> typer.Typer:
    """The sub-commands, made from the registry."""
    from microtomo.registry import list_measurements

    group = typer.Typer()
    for known in list_measurements():
        group.command(known.name, cls=Verb)(_command(known))
    return group


def _command(known: Measurement) -> Callable[..., None]:
    """The verb of one measurement: what all have, its further tables, and its own options."""

    def verb(**given: Any) -> None:
        from microtomo.cli.measuring import run

        run(known, **given)

    from microtomo.cli.texts import ready_methods
    from microtomo.errors import MicrotomoError
    from microtomo.registry import best_shipped

    methods = ", ".join(ready_methods(task=known.task))
    try:
        default = best_shipped(known.task).name
    except MicrotomoError:  # nothing comes ready to use
        default = "none"
    parameters = _parameters(known, f"Segmenter: {methods}; else {default}.")
    verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in parameters}
    verb.__name__ = known.name
    verb.__doc__ = cleandoc(known.run.__doc__ or "").split("\n\n")[0]
    return verb


def _parameters(known: Measurement, segmenters: str) -> list[Parameter]:
    """Options of the verb of a measurement; ``segmenters`` is the help of ``--method``."""
    options: list[tuple[str, Any, Any, Any]] = [
        ("image", Path, typer.Argument(metavar="IMAGE|FOLDER", help="TIFF, PNG, .npy, .dm3 or .dm4, or many."), None),
        (
            "output",
            Path,
            typer.Option("--output", "-o", help=f"CSV file for the table of {known.tables[0]}."),
            None,
        ),
        *((t, Path | None, typer.Option(help=f"CSV file for the table of {t}."), ()) for t in known.tables[1:]),
        ("picture", Path | None, typer.Option(help="Picture of what was measured; a folder for many."), ()),
        *(*_histogram(known), *_tracks(known)),
        ("report", Path | None, typer.Option(help="HTML page of all images, with their pictures."), ()),
        _mask(known),
        ("method", str | None, typer.Option(help=segmenters), ()),
        ("settings", list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the segmenter."), ()),
        ("pixel_nm", float | None, typer.Option(help="Pixel size in nm; else what the file says."), ()),
    ]
    parameters = [_parameter(name, kind, info, default) for name, kind, info, default in options]
    for p in known.settings:
        kind, *words = get_args(p.annotation) if get_args(p.annotation) else (p.annotation,)
        info = typer.Option(help=str(words[0]) if words else "")
        parameters.append(
            Parameter(p.name, Parameter.KEYWORD_ONLY, default=p.default, annotation=Annotated[kind, info])
        )
    for name, flag, says in _FLAGS:
        parameters.append(_parameter(name, bool, typer.Option(flag, help=says), False))
    return parameters


def _histogram(known: Measurement) -> list[tuple[str, Any, Any, Any]]:
    if not known.distribution:
        return []
    words = f"Picture of the distribution of the {known.distribution}s on all images."
    return [("histogram", Path | None, typer.Option(help=words), ())]


def _tracks(known: Measurement) -> list[tuple[str, Any, Any, Any]]:
    if not known.followed:
        return []
    words = "The images are frames of one series: CSV file of what each became; the page gets curves over time."
    return [("tracks", Path | None, typer.Option(help=words), ())]


def _mask(known: Measurement) -> tuple[str, Any, Any, Any]:
    if known.from_labels:
        words = "The input is a label image (0 and 255, or 0, 1, ...): nothing is segmented."
        return "mask", bool, typer.Option("--mask", help=words), False
    return "mask", Path | None, typer.Option(help="Label image beside the image; else --method finds the labels."), ()


def _parameter(name: str, kind: Any, info: Any, default: Any) -> Parameter:
    """``default``: None where the parameter is required, () where it may be left out."""
    value = Parameter.empty if default is None else None if default == () else default
    return Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=Annotated[kind, info])
