"""``microtomo explain``: what a network looks at, on one page."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.options import Force, new_file
from microtomo.cli.say import say, tell

if TYPE_CHECKING:
    from microtomo.models.explain.subject import Subject


def explain(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE|SCAN", help="A micrograph, or a scan for a network of scans.")
    ],
    method: Annotated[str, typer.Option(help="A network: one that `microtomo train` lists.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML page.")],
    weights: Annotated[
        Path | None, typer.Option(help="Weights of a training run; else those that come with the package.")
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Which class or layer; else the one with the most pixels.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Label image of the micrograph: features by error.")] = None,
    window: Annotated[int, typer.Option(min=32, max=1024, help="Pixels along the side of the part looked at.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same page.")] = 0,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """What a network looks at: kernels, activations, attributions with their checks, receptive field, feature space."""
    from microtomo.errors import naming
    from microtomo.io.atomic import check_output
    from microtomo.report.explanation import as_json as summarised
    from microtomo.report.explanation import explained, explanation_report
    from microtomo.report.page import write_report

    check_output(output, [image])
    new_file(output, force, (".html", ".htm"), "the page")
    with naming(image):
        subject = _subject(image, method, weights, labels, class_name)
    one = explained(subject, class_name, window, seed, lambda words: tell(f"{words} ..."))
    with TemporaryDirectory() as folder:
        write_report(explanation_report(one, image.name, Path(folder)), output)
    if as_json:
        say(summarised(one))
        return
    best = max(one.found, key=lambda each: each.deletion.gain)
    say(
        f"{method}, class {one.class_name}: receptive field {one.field.side_px} px, most faithful map {best.kind} "
        f"(deletion gain {best.deletion.gain:+.3f}); written to {output}"
    )


def _subject(image: Path, method: str, weights: Path | None, labels: Path | None, class_name: str | None) -> Subject:
    from microtomo.errors import MicrotomoError
    from microtomo.io.micrographs import read_micrograph
    from microtomo.io.scans import read_scan
    from microtomo.models.explain.subject import label_mask, micrograph_subject, scan_subject
    from microtomo.registry import get_method, get_task
    from microtomo.tem.segmentation import given_labels

    task = get_task(get_method(method).task)
    if task.input == "scan":
        if labels is not None:
            raise MicrotomoError("--labels belong to micrographs: leave them out for a scan")
        return scan_subject(read_scan(image), method, weights)
    mask = None
    if labels is not None:
        names = [c.name for c in task.classes]
        number = names.index(class_name) if class_name in names else 1
        mask = label_mask(given_labels(read_micrograph(labels).image, task).labels, number)
    return micrograph_subject(read_micrograph(image).image, method, weights, mask)
