"""The page of the benchmark of robustness: tables, a figure, and what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from microtomo.io.atomic import machine
from microtomo.materials import load_stack
from microtomo.report.markdown import write_markdown, write_table
from microtomo.report.page import Cell, Picture, Report, Section, Table, write_report
from microtomo.reproduce.robustness.trials import STACK, Outcome, Settings, Trial
from microtomo.seeds import VALIDATION_SEED, Stream
from microtomo.viz.figures import save_figure
from microtomo.viz.score_figures import ScoreBar, score_figure

Results = Mapping[Trial, Outcome]
_T = TypeVar("_T")
_LOW = 0.88, 0.99
"""Shares of pixels that a 95 % interval may hold before a cell is marked."""


def write_page(folder: Path, settings: Settings, results: Results) -> Path:
    """Write index.html, the same as Markdown, tables as CSV and the figure as PNG into ``folder``."""
    symbols = load_stack(STACK).symbols
    faults = fault_table(results, settings)
    clean = [t for t in results if t.fault == settings.faults[0]]
    bars = coverage_table({t: results[t] for t in clean}, symbols)
    verdicts = verdict_table(results)
    for name, table in (("faults", faults), ("coverage", bars), ("verdicts", verdicts)):
        write_table(table, folder / "tables" / f"{name}.csv")
    figure = save_figure(_figure(results, settings), folder / "figures" / "faults.png")
    sections = [
        Section("Verdicts", _verdict_text(results, settings), verdicts),
        Section("Scores by fault", _FAULTS_TEXT, faults, pictures=[Picture(figure, "Mean IoU by fault.")]),
        Section("Error bars", _COVERAGE_TEXT, bars),
    ]
    footer = f"microtomo {version('microtomo')}, {machine()}. Made by `microtomo reproduce robustness`."
    report = Report("Scans as they really come", _lead(settings), sections, footer)
    write_markdown(report, folder / "robustness.md")
    return write_report(report, folder / "index.html")


_FAULTS_TEXT = (
    "Mean IoU by the published protocol, the mean over scans. Below each forward model the structures; in brackets how "
    "many of the verdicts were right: a fault mended or doubted, a right scan trusted and left as it is."
)
_COVERAGE_TEXT = (
    "Scans without a fault. Share of the pixels where the layer is that a 95 % interval holds, and root mean square "
    "error of the thickness; in red where the share is below 88 % or above 99 %."
)


def fault_table(results: Results, settings: Settings) -> Table:
    """Mean IoU and verdicts of each fault at the first noise level: a column a method, forward model and structure."""
    chosen = {t: o for t, o in results.items() if t.noise == settings.noises[0]}
    columns = _ordered((t.method, t.forward, t.kind) for t in chosen)
    rows: list[list[Cell | str]] = []
    for fault in settings.faults:
        row: list[Cell | str] = [fault]
        for column in columns:
            own = [o for t, o in chosen.items() if (t.method, t.forward, t.kind) == column and t.fault == fault]
            row.append(f"{_mean([o.miou for o in own]):.3f} ({sum(o.right for o in own)}/{len(own)})" if own else "-")
        rows.append(row)
    return Table(["fault", *(", ".join(c) for c in columns)], rows)


def coverage_table(results: Results, symbols: Sequence[str]) -> Table:
    """Error bars of each method on each structure: coverage where the layer is, and RMSE."""
    rows: list[list[Cell | str]] = []
    for method, forward, kind, noise in _ordered((t.method, t.forward, t.kind, t.noise) for t in results):
        own = [
            o for t, o in results.items() if (t.method, t.forward, t.kind, t.noise) == (method, forward, kind, noise)
        ]
        row: list[Cell | str] = [f"{method}, {forward}, {kind}, {noise:.0%}", f"{_mean([o.miou for o in own]):.3f}"]
        for k in range(len(symbols)):
            held = [c for o in own if (c := o.coverage[k]) is not None]
            share = _mean(held) if held else float("nan")
            row.append(Cell(f"{share:.1%}", worse=not _LOW[0] <= share <= _LOW[1]) if held else "-")
            row.append(f"{_mean([o.rmse_nm[k] ** 2 for o in own]) ** 0.5:.2f}")
        rows.append(row)
    columns = [c for s in symbols for c in (f"{s} held", f"{s} rmse [nm]")]
    return Table(["method, forward model, structure, noise", "mIoU", *columns], rows)


def verdict_table(results: Results) -> Table:
    """Verdicts by fault over all else: how many scans, mended, doubted, right, and with the cause named."""

    def counts(own: Sequence[Outcome]) -> list[Cell | str]:
        tests: tuple[Callable[[Outcome], bool], ...] = (
            lambda o: o.mended, lambda o: not o.trusted, lambda o: o.right, lambda o: o.right and o.named,
        )  # fmt: skip
        return [str(len(own)), *(str(sum(test(o) for o in own)) for test in tests)]

    rows: list[list[Cell | str]] = []
    for fault in _ordered(t.fault for t in results):
        rows.append([fault, *counts([o for t, o in results.items() if t.fault == fault])])
    return Table(["fault", "scans", "mended", "doubted", "verdict right", "cause right"], rows)


def _verdict_text(results: Results, settings: Settings) -> str:
    right = [o for t, o in results.items() if t.fault == settings.faults[0]]
    faulty = [o for t, o in results.items() if t.fault != settings.faults[0]]
    caught, alarms = sum(o.right for o in faulty), sum(not o.right for o in right)
    return f"Mended or doubted: {caught} of {len(faulty)} scans with a fault, {alarms} of {len(right)} right ones."


def _lead(settings: Settings) -> str:
    return (
        f"Gold under aluminium on silicon, {settings.size} x {settings.size} pixels, 31 energies, {settings.samples} "
        f"scans of each kind; structures, noise and faults are drawn from stream {Stream.ROBUSTNESS.name} of seed "
        f"{settings.seed}. Limits of the verdict were chosen on the same stream of seed {VALIDATION_SEED}; networks "
        f"are trained and calibrated on streams {Stream.TRAINING.name} and {Stream.CALIBRATION.name} of other seeds. "
        "The noise level is estimated from each scan."
    )


def _figure(results: Results, settings: Settings) -> Figure:
    groups = {}
    for method in _ordered(t.method for t in results):
        own = {t: o for t, o in results.items() if t.method == method and t.noise == settings.noises[0]}
        groups[method] = [
            ScoreBar(fault, _mean([o.miou for t, o in own.items() if t.fault == fault]))
            for fault in _ordered(t.fault for t in own)
        ]
    figure: Figure = score_figure(groups, title="Mean IoU by fault, over all structures and forward models")
    return figure


def _ordered(values: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
