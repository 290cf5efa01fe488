"""The sections of the page that the report has not: noise, limits, error by thickness, cost."""

from __future__ import annotations

from collections.abc import Mapping

from microtomo.report.page import Cell, Section, Table
from microtomo.reproduce.sem import limits
from microtomo.reproduce.sem.cost import Cost
from microtomo.reproduce.sem.measure import Measured
from microtomo.reproduce.sem.plan import CONTRASTS, NOISE, chart, perlin
from microtomo.reproduce.sem.results import Results


def beyond(results: Results, test: Mapping[str, Measured]) -> list[Section]:
    """All of them; ``test`` are the results of Table 1.1."""
    return [_noise(results), *_charts(results), _cost(results, test)]


def _noise(results: Results) -> Section:
    s = results.settings
    sweeps: dict[str, dict[str, dict[float, Measured]]] = {contrast: {} for contrast in CONTRASTS}
    for contrast, methods in sweeps.items():
        for noise in s.noises:
            for method, found in results.of(perlin(contrast, noise)).items():
                methods.setdefault(method, {})[noise] = found
    sweeps = {contrast: methods for contrast, methods in sweeps.items() if methods}
    header, *rows = limits.noise_columns(sweeps)
    results.save_table(Table(header, rows), "noise")
    text = f"""
The report's open question. {s.swept} test structures at each level ({s.samples} at {NOISE:.0%} in published contrast);
bars are standard errors over structures, dashes the report's figures. The same shipped weights at every level.
"""
    drawn = results.draw(limits.noise_figure(sweeps), "noise", "Mean IoU by noise level, both contrasts.")
    return Section("Stability against noise", text, pictures=[drawn])


def _charts(results: Results) -> list[Section]:
    charts = {contrast: found for contrast in CONTRASTS if (found := results.of(chart(contrast)))}
    for name, columns in (("bound", limits.bound_columns), ("error", limits.error_columns)):
        header, *rows = columns(charts)
        results.save_table(Table(header, rows), name)
    bound = f"""
{results.settings.charts} charts of all pairs of 8 gold and 8 aluminium thicknesses, in patches at random places,
{NOISE:.0%} noise. The Cramér-Rao bound, joined to the range of each layer, is about the least error that an estimate
from one pixel alone can have. What stands left of 1 knows its neighbours.
"""
    told = "The same charts. Left the bound of one pixel, then methods: where a scan is blind, and where a method is."
    maps = [
        results.draw(limits.thickness_error_figure(found, c), f"error_{c}", f"{c} contrast; colours are logarithmic.")
        for c, found in charts.items()
    ]
    drawn = results.draw(
        limits.bound_figure(charts), "bound", "Thickness error over the bound: median, and 80 % of pairs."
    )
    return [
        Section("What one pixel can tell, and what neighbours add", bound, pictures=[drawn]),
        Section("Error by thickness of gold and aluminium", told, pictures=maps),
    ]


def _cost(results: Results, test: Mapping[str, Measured]) -> Section:
    costs = results.costs()
    table = results.save_table(_cost_table(test, costs), "cost")
    text = "One scan at a time, each method in a process of its own; memory is what it takes beyond the libraries."
    figure = limits.cost_figure({m: found.scores.miou for m, found in test.items()}, costs)
    drawn = results.draw(figure, "cost", "Wrong voxels against seconds a scan; the area of a dot is the memory.")
    return Section("Quality and its cost", text, table, pictures=[drawn])


def _cost_table(test: Mapping[str, Measured], costs: Mapping[str, Cost]) -> Table:
    rows: list[list[Cell | str]] = []
    for method, cost in costs.items():
        found = test[method]
        memory = "" if cost.megabytes is None else f"{cost.megabytes:.0f}"
        inside = " / ".join(f"{share:.1%}" for share in found.inside.mean(0).tolist())
        errors = [f"{v:.2f}" for v in found.rmse_nm]
        rows.append([method, f"{found.scores.miou:.4f}", f"{cost.seconds:.2f}", memory, *errors, inside])
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
