"""``microtomo generate``: simulate a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.options import BeamNm, GivenForward, Spread
from microtomo.cli.progress import prepare, progress, resumable, time_of
from microtomo.cli.say import say

if TYPE_CHECKING:
    from microtomo.simulate.generation import Forecast


def generate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to, or one file (.h5, .hdf5, .nxs).")],
    samples: Annotated[int | None, typer.Option(min=1, help="Samples, without a split.")] = None,
    train: Annotated[int | None, typer.Option(min=0, help="Samples to train with, in OUT/train.")] = None,
    validation: Annotated[int | None, typer.Option(min=0, help="Samples in OUT/validation.")] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Samples in OUT/test.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same data set.")] = 0,
    size: Annotated[str | None, typer.Option(help="Pixels: 128, or HEIGHTxWIDTH.")] = None,
    stack: Annotated[str | None, typer.Option(help="Built-in stack or TOML file; default au-al-si.")] = None,
    structures: Annotated[
        str | None, typer.Option(help="Kinds with weights: perlin,lithography=0.3; default perlin.")
    ] = None,
    forward: GivenForward = None,
    spread: Spread = None,
    beam_nm: BeamNm = None,
    noise: Annotated[float | None, typer.Option(help="Relative Gaussian noise, 0.02 for 2 %; default 0.02.")] = None,
    dose: Annotated[float | None, typer.Option(help="Electrons per pixel and energy, for shot noise.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 (default) or float16 signals.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration as TOML; options override it.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any configuration value: detector.gain=[2].")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default all cores.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler to work on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell size and time, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Simulate a data set: random structures, their scans with noise, and the true thickness.

    Run it again to finish what was interrupted: finished shards are kept.
    """
    height, width = _size(size)
    from microtomo.simulate.dataset import load_config
    from microtomo.simulate.generation import forecast, generate_dataset

    configuration = load_config(
        config,
        override or [],
        samples=samples,
        train=train,
        validation=validation,
        test=test,
        height=height,
        width=width,
        stack=stack,
        structures=_mix(structures),
        forward=forward,
        spread=spread,
        beam_fwhm_nm=beam_nm,
        detector__noise=noise,
        detector__electrons_per_pixel=dose,
        dtype=dtype,
    )
    if dry_run:
        _show(forecast(configuration, out, seed=seed, workers=workers), as_json)
        return
    prepare(configuration.forward_model)
    with resumable(f"finished shards stay in {out}"), progress(configuration.total, "samples") as show:
        result = generate_dataset(configuration, out, seed=seed, workers=workers, scheduler=scheduler, progress=show)
    if as_json:
        say(json.dumps(result.as_dict()))
        return
    say(result.path)
    rate = f" at {result.written / result.seconds:.0f} samples/s" if result.written else ""
    say(
        f"{result.samples} samples, {result.written} written in {time_of(result.seconds)}{rate}, "
        f"{_size_of(result.bytes)}",
        err=True,
    )


def _show(expected: Forecast, as_json: bool) -> None:
    if as_json:
        say(json.dumps(expected.as_dict()))
        return
    say(
        f"{expected.samples} samples, {expected.missing} to write",
        f"{_size_of(expected.bytes)} on disk, {_size_of(expected.free_bytes)} free",
        f"about {time_of(expected.seconds)}",
    )


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is no size: write 128 or 96x160", param_hint="--size")
    return int(parts[0]), int(parts[-1])


def _mix(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    mix = {}
    for part in text.split(","):
        kind, equals, weight = part.partition("=")
        try:
            mix[kind.strip()] = float(weight) if equals else 1.0
        except ValueError:
            raise typer.BadParameter(
                f"{part!r} is no kind with a weight: write lithography=0.3", param_hint="--structures"
            ) from None
    return mix


def _size_of(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
