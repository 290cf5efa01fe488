"""``microtomo train``: a network from simulated or stored scans, or from labelled or synthetic micrographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.options import GivenForward
from microtomo.cli.progress import resumable
from microtomo.cli.say import say

if TYPE_CHECKING:
    from microtomo.training.config import RunConfig


def train(
    architecture: Annotated[
        str,
        typer.Argument(metavar="NETWORK", help="One of {all networks}; `microtomo models` says what each is."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; default runs/NETWORK-MODEL.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data set of `microtomo generate`, else scans are simulated as training goes; for micrographs: "
            "a folder of images NAME.png with NAME_LABEL.png."
        ),
    ] = None,
    forward: GivenForward = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, of data.epoch samples each.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same weights.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices to train on side by side.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as network.width=24; repeatable."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2", help="Train every combination, such as of network.features=8,16; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network, or go on where the same run was interrupted.

    Its weights serve `microtomo reconstruct` or `microtomo segment` with `--method NETWORK --set weights=FILE`.
    """
    from microtomo.errors import MicrotomoError
    from microtomo.models.architectures import architecture as architecture_of
    from microtomo.training.task import load_run

    if forward is not None and "forward" not in architecture_of(architecture).config.model_fields:
        raise MicrotomoError(f"{architecture} is for micrographs, which have no --forward: leave it out")
    values = {"epochs": epochs, "seed": seed, "devices": devices, "accelerator": accelerator}
    source = None if data is None else str(data)

    def configure(more: list[str]) -> RunConfig:
        overrides = [*(settings or []), *more]
        return load_run(architecture, config, overrides, source=source, network__forward=forward, **values)

    chosen = configure([])
    folder = output or Path("runs") / "-".join(part for part in (architecture, chosen.variant) if part)
    with resumable(f"finished epochs stay in {folder}"):
        if grid:
            _search(configure, grid, folder, as_json)
        else:
            _run(chosen, folder, as_json)


def _search(configure: Callable[[list[str]], RunConfig], grid: list[str], folder: Path, as_json: bool) -> None:
    """Train every combination of a grid, and print how they rank."""
    from microtomo.training.search import read_grid, search

    runs = search(configure, read_grid(grid), folder, lambda line: say(line, err=True))
    if as_json:
        say(json.dumps([{**r.settings, "score": r.score, "weights": str(r.weights)} for r in runs]))
        return
    score = configure([]).score
    for run in runs:
        say(f"{run.name}: {score} {run.score:.4f}; weights in {run.weights}")


def _run(chosen: RunConfig, folder: Path, as_json: bool) -> None:
    """Train, and print how it went."""
    from microtomo.models.weights import read_card
    from microtomo.training.run import run_training

    weights = run_training(chosen, folder)
    _, card = read_card(weights)
    if as_json:
        say(json.dumps({"weights": str(weights), **card}))
        return
    name = chosen.network.architecture + (f" ({chosen.variant})" if chosen.variant else "")
    score = card.get(f"validation_{chosen.metric}")
    scored = "" if score is None else f"validation {chosen.score} {score:.4f} after "
    say(f"{name}: {scored}{card['samples']} samples, {card['training_seconds']} s; weights in {weights}")
