"""``microtomo reproduce particles``: nanoparticles on real images, detection and pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.say import console, say, tell


def particles(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Folder with images/, and boxes/NAME.txt or labels/ of the same names."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Segmenter for detection; else the best that comes with the package.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation on labels.")] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML page: networks are trained on the labels, too.")
    ] = None,
    synthetic: Annotated[
        int, typer.Option(min=0, help="Instead of DATA: so many synthetic images of each of three kinds.")
    ] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="One fold and short trainings: minutes, not a night.")] = False,
    network: Annotated[
        list[str] | None, typer.Option(help="Train this one, such as horwath-512; repeatable; else five.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder that keeps the trainings: the same command then goes on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Nanoparticles on real images: against boxes drawn by hand, or filter and networks against given labels.

    A particle matches a box whose centre is nearer than half the box's longer side, one to one.
    """
    from microtomo.errors import MicrotomoError

    if data is None:
        if not synthetic:
            raise MicrotomoError("give a folder DATA, or --synthetic 40 for synthetic images")
        _synthetic(synthetic, method, as_json)
    elif (data / "boxes").is_dir():
        _detection(data, method, as_json)
    elif (data / "labels").is_dir():
        _pixels(data, folds, as_json) if output is None else _study(data, output, folds, quick, network, runs, as_json)
    else:
        raise MicrotomoError(f"{data}: holds neither boxes/ nor labels/ beside images/: give a folder that does")


def _detection(data: Path, method: str | None, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.table import Table

    from microtomo.reproduce.particles import Detected, detections
    from microtomo.tem.particles.boxes import score

    rows: list[Detected] = []
    for row in detections(data, method):
        rows.append(row)
        found = row.agreement
        line = f"{row.name}: {found.particles} particles, {found.boxes} boxes, {found.matched} matched"
        say(line, err=True)
    total = score([row.agreement for row in rows])
    if as_json:
        say(json.dumps({"total": asdict(total), "images": [row.as_dict() for row in rows]}))
        return
    table = Table(title=f"Detection on {len(rows)} images, pooled; count error: mean over images, and of the sum")
    for column in ("", "precision", "recall", "F1", "count error", "log-size correlation"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("Laplacian of Gaussian, own scale and threshold each", "-", "-", ".52", "-", "-")
    counts = f"{total.count_error:.1%}, {total.pooled_count_error:.1%}"
    figures = (f"{value:.3f}" for value in (total.precision, total.recall, total.f1))
    table.add_row(method or "default method", *figures, counts, f"{total.correlation:.3f}")
    console(118).print(table)


def _pixels(data: Path, folds: int, as_json: bool) -> None:
    from microtomo.reproduce.particles import filter_scores, read_tiles

    tiles, groups = read_tiles(data)
    scores = filter_scores(tiles, groups, folds)
    if as_json:
        say(json.dumps({"tiles": len(tiles), "folds": folds, "gaussian-otsu": scores.as_dict()}))
        return
    figures = f"F1 {scores.f1:.4f}, precision {scores.precision:.4f}, recall {scores.recall:.4f}"
    say(f"gaussian-otsu on {len(tiles)} tiles, {folds} grouped folds, all pixels pooled: {figures}")


def _study(
    data: Path, output: Path, folds: int, quick: bool, networks: list[str] | None, runs: Path | None, as_json: bool
) -> None:
    from contextlib import nullcontext
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from microtomo.cli.progress import resumable
    from microtomo.io.atomic import check_output
    from microtomo.report.page import write_report
    from microtomo.reproduce.particle_networks import NETWORKS, QUICK, Plan
    from microtomo.reproduce.particle_page import study, study_report
    from microtomo.reproduce.particles import filter_scores, read_tiles

    check_output(output, [data])
    tiles, groups = read_tiles(data)
    plan = replace(QUICK if quick else Plan(used=folds), folds=folds, networks=tuple(networks or NETWORKS))
    with TemporaryDirectory() as folder, nullcontext() if runs is None else resumable(f"trainings stay in {runs}"):
        kept = runs or Path(folder) / "runs"
        baseline = filter_scores(tiles, groups, folds)
        done = study(tiles, groups, plan, baseline, kept, lambda line: tell(f"{line} ..."))
        write_report(study_report(done, Path(folder)), output)
    if as_json:
        say(json.dumps(done.summary()))
        return
    for name, row in done.summary()["networks"].items():
        say(f"{name}: F1 {row['f1']:.4f}, inside the largest particles {row['largest_tenth_inner_probability']:.3f}")
    say(f"gaussian-otsu: F1 {baseline.f1:.4f}; written to {output}")


def _synthetic(images: int, method: str | None, as_json: bool) -> None:
    from rich.table import Table

    from microtomo.cli.progress import progress
    from microtomo.reproduce.particle_synthetic import SETS, synthetic_score

    scores = {}
    for name in SETS:
        with progress(images, "images") as show:
            scores[name] = synthetic_score(name, images, method, progress=show)
    if as_json:
        say(json.dumps({name: scored.as_dict() for name, scored in scores.items()}))
        return
    table = Table(title=f"{images} synthetic images of each kind")
    for column in ("", "pixel F1", "of what can be seen", "detection F1", "size error", "of the mean", "95 % hold"):
        table.add_column(column, justify="right" if column else "left")
    for name, s in scores.items():
        cells = (f"{s.f1:.3f}", f"{s.seen_f1:.3f}", f"{s.detection_f1:.3f}", f"{s.size_error:.1%}")
        table.add_row(name, *cells, f"{s.mean_size_error:.1%}", f"{s.coverage:.1%}")
    console(118).print(table)
    for name, known in SETS.items():
        say(f"{name}: {known.words}")
