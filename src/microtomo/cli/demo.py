"""``microtomo demo``: the main job from end to end, with scores and pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from microtomo.cli.options import Forward
from microtomo.cli.say import console, say, tell
from microtomo.registry import DEFAULT_FORWARD

if TYPE_CHECKING:
    from microtomo.report.gallery import Result
    from microtomo.scan import Reconstruction, Scan

SEED = 20_240_229
"""Seed of the demo's structures; no prior was chosen on them."""
NOISE = 0.02
"""Relative noise of the demo's scans, as of the published ones."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("demo"),
    samples: Annotated[int, typer.Option(min=1, max=100, help="Number of Perlin structures.")] = 6,
    forward: Forward = DEFAULT_FORWARD,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Simulate scans, reconstruct them with every method, score them and draw pictures, a page and files."""
    import time

    from microtomo.io.atomic import writing
    from microtomo.materials import load_stack
    from microtomo.physics.published import Published
    from microtomo.registry import list_methods
    from microtomo.seeds import Stream
    from microtomo.simulate.samples import draw_structures
    from microtomo.simulate.scans import simulate_scan

    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    stack = load_stack("au-al-si")
    truths = {
        "perlin": draw_structures(stack, "perlin", SEED, Stream.SAMPLES, range(samples), 128, 128),
        "experimental": draw_structures(stack, "experimental", SEED, Stream.SAMPLES, range(1), 128, 128)[0],
    }
    scans = {
        name: simulate_scan(stack, truth, forward=forward, noise=NOISE, seed=SEED) for name, truth in truths.items()
    }
    methods = [m.name for m in list_methods(task="layers") if m.ready(forward)]
    _prepare(methods, scans["experimental"])
    recs = {m: {name: _reconstruct(scan, m, name) for name, scan in scans.items()} for m in methods}
    results = [_result(m, found, scans) for m, found in recs.items()]
    compare = forward == Published.name
    tell("drawing pictures")
    files = _files(output, scans, recs)
    _page(output, scans, recs, results, compare, files)
    seconds = time.perf_counter() - started
    if as_json:
        summary = {"output": str(output), "forward": forward, "noise": NOISE, "seconds": round(seconds, 1)}
        say(json.dumps({**summary, "methods": [asdict(r) for r in results]}))
    else:
        _show(results, compare, forward, samples)
    tell(f"done in {seconds:.0f} s: open {output / 'index.html'}")


def _prepare(methods: list[str], scan: Scan) -> None:
    """Run every method on a corner of a scan, so that the seconds told later hold no compilation."""
    from dataclasses import replace

    from microtomo.inverse.reconstruct import reconstruct

    tell("preparing: kernels are compiled the first time, half a minute")
    corner = replace(scan, data=scan.data[:, 48:80, 48:80], truth=None)
    for method in methods:
        reconstruct(corner, method=method, forward=scan.forward)


def _reconstruct(scan: Scan, method: str, name: str) -> Reconstruction:
    from microtomo.inverse.reconstruct import reconstruct

    rec = reconstruct(scan, method=method, forward=scan.forward)
    tell(f"{name}: {rec.summary()}")
    return rec


def _result(method: str, found: dict[str, Reconstruction], scans: dict[str, Scan]) -> Result:
    from microtomo.inverse.evaluation import evaluate
    from microtomo.report.gallery import Result

    scores = {name: evaluate(rec, scans[name]).as_dict() for name, rec in found.items()}
    test, experimental, rec = scores["perlin"], scores["experimental"], found["perlin"]
    return Result(method, test["miou"], experimental["miou"], test["rmse_nm"], rec.seconds / len(rec.thickness))


def _files(output: Path, scans: dict[str, Scan], recs: dict[str, dict[str, Reconstruction]]) -> list[tuple[str, str]]:
    """Write scans and reconstructions; returns (text, file name) of each."""
    from microtomo.io.reconstructions import write_reconstruction
    from microtomo.io.scans import write_scan

    links = []
    for name, scan in scans.items():
        write_scan(output / f"{name}_scan.h5", scan)
        links.append((f"{name} scan", f"{name}_scan.h5"))
        for method, found in recs.items():
            write_reconstruction(output / f"{name}_{method}.h5", found[name], truth=scan.truth)
            links.append((f"{name}, {method}", f"{name}_{method}.h5"))
    return links


def _page(
    output: Path,
    scans: dict[str, Scan],
    recs: dict[str, dict[str, Reconstruction]],
    results: list[Result],
    compare: bool,
    files: list[tuple[str, str]],
) -> None:
    from microtomo import __version__
    from microtomo.report.gallery import Gallery, score_bars, score_table
    from microtomo.report.page import Picture, Report, Section, write_report
    from microtomo.study import one_reconstruction, one_scan
    from microtomo.viz.figures import save_figure
    from microtomo.viz.gl import offscreen_works

    problem = offscreen_works()
    if problem is not None:
        tell(f"note: no 3D pictures, HTML scenes only. {problem}")
    best = "map" if "map" in recs else max(results, key=lambda r: r.test).method
    gallery = Gallery(output, best, draw_3d=problem is None)
    stack = recs[best]["perlin"].stack
    bars = Picture(save_figure(score_bars(results, compare), output / "scores.png"), "Mean IoU, ours and published.")
    text = (
        "Mean IoU of empty, gold and aluminium voxels by the published protocol, on structures that no solver was "
        "tuned on. Best in bold; red: below the published numerical solution."
    )
    sections = [Section("Scores", text, score_table(results, stack, compare), pictures=[bars], links=files)]
    pieces = {m: found["experimental"] for m, found in recs.items()}
    sections.append(
        gallery.structure("experimental", "Experimental structure", one_scan(scans["experimental"]), pieces, full=True)
    )
    for i in range(len(scans["perlin"].data)):
        pieces = {m: one_reconstruction(found["perlin"], i) for m, found in recs.items()}
        scan = one_scan(scans["perlin"], i)
        sections.append(gallery.structure(f"perlin{i + 1}", f"Perlin structure {i + 1}", scan, pieces, full=i == 0))
    lead = (
        f"Simulated backscatter scans (31 beam energies, {NOISE:.0%} noise, forward model {scans['perlin'].forward}) "
        "of gold under aluminium on silicon, reconstructed by every solver of the package: which material, how thick, "
        "and how sure."
    )
    report = Report("microtomo demo", lead, sections, f"microtomo {__version__}, seed {SEED}")
    write_report(report, output / "index.html")


def _show(results: list[Result], compare: bool, forward: str, samples: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from microtomo.materials import load_stack
    from microtomo.report.gallery import score_table
    from microtomo.report.page import Cell

    data = score_table(results, load_stack("au-al-si"), compare)
    title = f"{samples} Perlin structures and the experimental one, forward model {forward}, {NOISE:.0%} noise"
    table = Table(title=title)
    for i, name in enumerate(data.header):
        table.add_column(Text(name), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for i, row in enumerate(data.rows):
        cells = [
            Text(c.text, style="red" if c.worse else "bold" if c.best else "")
            for c in (c if isinstance(c, Cell) else Cell(c) for c in row)
        ]
        table.add_row(*cells, style="dim" if i in data.published else "", end_section=i + 1 in data.published[:1])
    shown = console()
    shown.print(table)
