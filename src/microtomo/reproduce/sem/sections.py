"""Sections of the page that the report has not: noise, bound of one pixel, error by thickness, cost."""

from __future__ import annotations

from collections.abc import Mapping

from microtomo.report.page import Cell, Section, Table
from microtomo.reproduce.sem import figures
from microtomo.reproduce.sem.cost import Cost
from microtomo.reproduce.sem.plan import FORWARD_MODELS, NOISE, chart, perlin
from microtomo.reproduce.sem.reconstructions import Statistics
from microtomo.reproduce.sem.results import Results


def further_sections(results: Results, test: Mapping[str, Statistics]) -> list[Section]:
    """All of them; ``test`` are the results of Table 1.1."""
    return [_noise(results), *_charts(results), _cost(results, test)]


def _noise(results: Results) -> Section:
    s = results.settings
    sweeps: dict[str, dict[str, dict[float, Statistics]]] = {contrast: {} for contrast in FORWARD_MODELS}
    for contrast, methods in sweeps.items():
        for noise in s.noises:
            for method, statistics in results.of(perlin(contrast, noise)).items():
                methods.setdefault(method, {})[noise] = statistics
    sweeps = {contrast: methods for contrast, methods in sweeps.items() if methods}
    header, *rows = figures.noise_columns(sweeps)
    results.save_table(Table(header, rows), "noise")
    text = f"""
The report's open question. {s.swept} test structures at each level ({s.samples} at {NOISE:.0%} in published contrast);
bars are standard errors over structures, dashes the report's figures. The same shipped weights at every level.
"""
    drawn = results.draw(figures.noise_figure(sweeps), "noise", "Mean IoU by noise level, both contrasts.")
    return Section("Stability against noise", text, pictures=[drawn])


def _charts(results: Results) -> list[Section]:
    charts = {contrast: methods for contrast in FORWARD_MODELS if (methods := results.of(chart(contrast)))}
    for name, columns in (("bound", figures.bound_columns), ("error", figures.error_columns)):
        header, *rows = columns(charts)
        results.save_table(Table(header, rows), name)
    bound = f"""
{results.settings.charts} charts of all pairs of 8 gold and 8 aluminium thicknesses, in patches at random places,
{NOISE:.0%} noise. The Cramér-Rao bound, joined to the range of each layer, is about the least error that an estimate
from one pixel alone can have. What stands left of 1 knows its neighbours.
"""
    error = "The same charts. Left the bound of one pixel, then methods: where a scan is blind, and where a method is."
    maps = [
        results.draw(
            figures.thickness_error_figure(methods, c), f"error_{c}", f"{c} contrast; colours are logarithmic."
        )
        for c, methods in charts.items()
    ]
    drawn = results.draw(
        figures.bound_figure(charts), "bound", "Thickness error over the bound: median, and 80 % of pairs."
    )
    return [
        Section("What one pixel can tell, and what neighbours add", bound, pictures=[drawn]),
        Section("Error by thickness of gold and aluminium", error, pictures=maps),
    ]


def _cost(results: Results, test: Mapping[str, Statistics]) -> Section:
    costs = results.costs()
    table = results.save_table(_cost_table(test, costs), "cost")
    text = "One scan at a time, each method in a process of its own; memory is what it takes beyond the libraries."
    figure = figures.cost_figure({m: statistics.scores.miou for m, statistics in test.items()}, costs)
    drawn = results.draw(figure, "cost", "Wrong voxels against seconds a scan; the area of a dot is the memory.")
    return Section("Quality and its cost", text, table, pictures=[drawn])


def _cost_table(test: Mapping[str, Statistics], costs: Mapping[str, Cost]) -> Table:
    rows: list[list[Cell | str]] = []
    for method, cost in costs.items():
        statistics = test[method]
        memory = "" if cost.megabytes is None else f"{cost.megabytes:.0f}"
        inside = " / ".join(f"{share:.1%}" for share in statistics.inside.mean(0).tolist())
        errors = [f"{v:.2f}" for v in statistics.rmse_nm]
        rows.append([method, f"{statistics.scores.miou:.4f}", f"{cost.seconds:.2f}", memory, *errors, inside])
    header = [
        "method",
        "mIoU",
        "s a scan",
        "memory [MB]",
        "Au rmse [nm]",
        "Al rmse [nm]",
        "95 % intervals hold, Au / Al",
    ]
    return Table(header, rows)
