"""``microtomo train``: a network from simulated or stored scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    architecture: Annotated[str, typer.Argument(metavar="NETWORK", help="conv3, unet, stacked-unet, unet3d or uvnet.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; default runs/NETWORK-CONTRAST.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data set of `microtomo generate`; else scans are simulated as training goes.")
    ] = None,
    contrast: Annotated[str | None, typer.Option(help="published or material.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, of data.epoch samples each.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same weights.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices to train on side by side.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as network.width=24; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network, or go on where the same run was interrupted.

    Its weights serve `microtomo reconstruct --method NETWORK --set weights=FILE`.
    """
    from microtomo.models.weights import read_card
    from microtomo.training.config import load_train_config
    from microtomo.training.run import train as run

    chosen = load_train_config(
        architecture,
        config,
        settings or [],
        data__path=None if data is None else str(data),
        network__contrast=contrast,
        epochs=epochs,
        seed=seed,
        devices=devices,
        accelerator=accelerator,
    )
    folder = output or Path("runs") / f"{architecture}-{chosen.network.contrast}"
    weights = run(chosen, folder)
    _, card = read_card(weights)
    if as_json:
        typer.echo(json.dumps({"weights": str(weights), **card}))
    else:
        typer.echo(
            f"{architecture} ({chosen.network.contrast} contrast): validation mIoU {card['validation_miou']:.4f} after "
            f"{card['samples']} samples, {card['training_seconds']} s; weights in {weights}"
        )
