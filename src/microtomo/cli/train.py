"""``microtomo train``: a network from simulated or stored scans, or from labelled or synthetic micrographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.options import GivenForward
from microtomo.cli.progress import resumable

if TYPE_CHECKING:
    from microtomo.models.weights import Family
    from microtomo.training.config import RunConfig, TrainConfig


def train(
    architecture: Annotated[
        str,
        typer.Argument(metavar="NETWORK", help="conv3, unet, stacked-unet, unet3d, uvnet, or graphene-unet[-7|-9]."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; default runs/NETWORK-CONTRAST.")
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
    from microtomo.errors import MicrotomoError, nearest
    from microtomo.models.micrographs.network import SEGMENTERS
    from microtomo.models.weights import SCANS

    known = [*SCANS.architectures, *SEGMENTERS.architectures]
    if architecture not in known:
        raise MicrotomoError(f"unknown network {architecture!r}; {nearest(architecture, known)}")
    common = {"epochs": epochs, "seed": seed, "devices": devices, "accelerator": accelerator}
    source = None if data is None else str(data)
    if architecture in SEGMENTERS.architectures:
        from microtomo.training.pairs import load_segmenter_run

        if forward is not None:
            raise MicrotomoError(f"{architecture} is for micrographs, which have no --forward: leave it out")

        def micrographs(more: list[str]) -> RunConfig:
            return load_segmenter_run(architecture, config, [*(settings or []), *more], data__folder=source, **common)

        _train(micrographs, output or Path("runs") / architecture, SEGMENTERS, grid, as_json)
    else:
        from microtomo.training.config import load_train_config

        def scans(more: list[str]) -> TrainConfig:
            values = {"data__path": source, "network__forward": forward, **common}
            return load_train_config(architecture, config, [*(settings or []), *more], **values)

        _train(scans, output or Path("runs") / f"{architecture}-{scans([]).network.forward}", SCANS, grid, as_json)


def _train(
    configure: Callable[[list[str]], RunConfig],
    folder: Path,
    family: Family[Any, Any],
    grid: list[str] | None,
    as_json: bool,
) -> None:
    with resumable(f"finished epochs stay in {folder}"):
        if not grid:
            _run(configure([]), folder, family, as_json)
        else:
            _search(configure, grid, folder, family, as_json)


def _search(
    configure: Callable[[list[str]], RunConfig], grid: list[str], folder: Path, family: Family[Any, Any], as_json: bool
) -> None:
    """Train every combination of a grid, and tell how they rank."""
    from microtomo.training.search import read_grid, search

    trials = search(configure, read_grid(grid), folder, family, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps([{**t.settings, "score": t.score, "weights": str(t.weights)} for t in trials]))
        return
    score = configure([]).score
    for trial in trials:
        typer.echo(f"{trial.name}: {score} {trial.score:.4f}; weights in {trial.weights}")


def _run(chosen: RunConfig, folder: Path, family: Family[Any, Any], as_json: bool) -> None:
    """Train, and tell how it went."""
    from microtomo.models.weights import card_of
    from microtomo.training.run import train as run

    weights = run(chosen, folder)
    _, card = card_of(weights, family)
    if as_json:
        typer.echo(json.dumps({"weights": str(weights), **card}))
        return
    forward = getattr(chosen.network, "forward", None)
    name = chosen.network.architecture + (f" ({forward})" if forward else "")
    score = card.get(f"validation_{chosen.metric}")
    told = "" if score is None else f"validation {chosen.score} {score:.4f} after "
    typer.echo(f"{name}: {told}{card['samples']} samples, {card['training_seconds']} s; weights in {weights}")
