"""``microtomo evaluate``: a reconstruction against the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.say import console, say, tell

if TYPE_CHECKING:
    from microtomo.scan import Reconstruction


def evaluate(
    reconstruction: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="File that `microtomo reconstruct` wrote.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TRUTH]", help="Simulated scan, data set, file with thickness maps, .npy or .npz; else OUT's own."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="No files: every method on the test structures, beside what was published.")
    ] = False,
    task: Annotated[str, typer.Option(help="With --all: what to find: {all tasks}.")] = "layers",
    method: Annotated[str, typer.Option(help="With --all: wildcard for the methods, such as 'u*'.")] = "*",
    samples: Annotated[int, typer.Option(min=1, help="With --all: structures, or images, of the test set.")] = 40,
    validation: Annotated[
        bool, typer.Option("--validation", help="With --all: the structures that settings are chosen on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Score a reconstruction: voxels by the published protocol and pooled, thickness in nm, error bars.

    With --all, one leaderboard of all methods of a task.
    """
    if everything:
        if reconstruction is not None:
            raise typer.BadParameter("--all simulates its own scans: leave the files out")
        from microtomo.cli.leaderboard import leaderboard

        leaderboard(task, method, samples, validation, as_json)
        return
    if reconstruction is None:
        raise typer.BadParameter("give a reconstruction: microtomo evaluate OUT.h5 [TRUTH.h5], or --all")
    from microtomo.errors import naming
    from microtomo.inverse.evaluation import evaluate as score
    from microtomo.io.kinds import Kind, kind_of
    from microtomo.io.reconstructions import read_reconstruction
    from microtomo.io.scans import read_truth

    rec = read_reconstruction(reconstruction)
    if truth is None:
        truth = reconstruction
        _check_truth(truth)
    elif truth.is_file() and kind_of(truth) is Kind.RECONSTRUCTION:
        _tell_of_reconstruction(truth)
    known = read_truth(truth)
    with naming(truth):
        scores = score(rec, known).as_dict()
    if as_json:
        say(json.dumps(_plain({"reconstruction": str(reconstruction), "truth": str(truth), **scores})))
    else:
        _show(scores, rec)


def _check_truth(file: Path) -> None:
    """Raise MicrotomoError for a reconstruction that holds no truth."""
    from microtomo.errors import MicrotomoError
    from microtomo.io.nexus import TRUTH, open_nexus

    with open_nexus(file) as (_, entry):
        if entry is None or entry.data(TRUTH) is None:
            raise MicrotomoError(f"{file}: holds no true thickness: give the simulated scan, or maps of the thickness")


def _tell_of_reconstruction(file: Path) -> None:
    from microtomo.io.nexus import TRUTH, open_nexus

    with open_nexus(file) as (_, entry):
        if entry is not None and entry.data(TRUTH) is None:
            tell(f"note: {file} is a reconstruction and no truth: `microtomo compare A.h5 B.h5` compares two")


def _plain(value: Any) -> Any:
    """The same with NaN as null, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(scores: dict[str, Any], rec: Reconstruction) -> None:
    from rich.table import Table

    shown = console()
    per_class = Table(title=f"Voxels: {scores['method']}, {scores['samples']} sample(s)")
    for column in ("class", "IoU", "recall", "precision", "IoU pooled", "recall pooled", "precision pooled"):
        per_class.add_column(column, justify="left" if column == "class" else "right")
    keys = ("iou", "recall", "precision", "pooled_iou", "pooled_recall", "pooled_precision")
    for k, name in enumerate(scores["classes"]):
        per_class.add_row(name, *(_number(scores[key][k]) for key in keys))
    per_class.add_section()
    means = (scores["miou"], scores["mrecall"], scores["mprecision"], scores["pooled_miou"])
    per_class.add_row("mean", *(_number(value) for value in means))
    shown.print(per_class)
    shown.print(f"accuracy {_number(scores['maccuracy'])}")
    maps = Table(title="Thickness")
    shares = ("present", "absent", "edges", "inside")
    within = ("95 % bars hold: where it is", "is not", "at edges", "inside")
    for column in ("layer", "RMSE nm", "bias nm", "mean error nm", *within):
        maps.add_column(column, justify="left" if column == "layer" else "right")
    for k, name in enumerate(scores["layers"]):
        held = [scores[f"coverage95_{share}"] for share in shares]
        coverage = ["-" if h is None or math.isnan(h[k]) else f"{h[k]:.1%}" for h in held]
        maps.add_row(name, *(f"{scores[key][k]:.3f}" for key in ("rmse_nm", "bias_nm", "mae_nm")), *coverage)
    shown.print(maps)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
