"""Tables, figures and words put together: one HTML page, the same as Markdown, tables as CSV, figures as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from microtomo.io.atomic import machine
from microtomo.materials import load_stack
from microtomo.report.markdown import write_markdown
from microtomo.report.page import Picture, Report, Section, Table, write_report
from microtomo.reproduce.sem import published, tables, training
from microtomo.reproduce.sem.pictures import FLAT, Structure, agreement, drawings, gallery_figure, structures
from microtomo.reproduce.sem.plan import NOISE, NUMERICAL, NUMERICAL_METHODS, Settings, experimental, perlin
from microtomo.reproduce.sem.reconstructions import STACK, ReconstructionJob, Statistics, collect, read_kept
from microtomo.reproduce.sem.results import Results
from microtomo.reproduce.sem.sections import further_sections
from microtomo.viz.scan_figures import thickness_figure
from microtomo.viz.scene import thickness_scene
from microtomo.viz.score_figures import ScoreBar, score_figure
from microtomo.viz.web import MOST_FACES

_PROTOCOL = f"""
Grey rows are the report's figures, ours below. mIoU, recall and precision are means over structures of
(i + 1e-7) / (u + 1e-7), the report's protocol, in which a material that is absent from truth and answer counts 1; the
pooled figures add up all voxels of all structures before they divide, and are the stricter ones. Bold: the best of
ours. Red and {tables.MARK}: below the published figure.
"""
_LOSSES = """
Mean squared errors of gold and aluminium [nm²], weighted C_Al / C_Au. At 1 the loss is nearly aluminium's alone; at
0.01 both count alike in shares of their range.
"""


def write(folder: Path, settings: Settings, with_3d: bool) -> tuple[Path, list[str]]:
    """Write everything from the results in the folder; returns the page, and what is below the published figures."""
    results = Results(folder, settings)
    test, real = results.of(perlin("published", NOISE)), results.of(experimental(NOISE))

    def table(number: str, what: str, content: Table, text: str = "") -> Section:
        saved = results.save_table(content, f"table_{number.replace('.', '_')}", f"table {number}")
        return Section(f"Table {number}: {what}", text, saved)

    sections = [
        table("1.1", "test set", tables.overall(test, published.TEST), _PROTOCOL),
        table("1.2", "test set, by material", tables.by_material(test, published.TEST_MATERIALS, "iou")),
        table("2.1", "experimental structure", tables.overall(real, published.EXPERIMENTAL)),
        table("2.2", "experimental structure, by material",
              tables.by_material(real, published.EXPERIMENTAL_MATERIALS, "precision")),
        *_numerical(results),
        *_training(results),
        *_structures(results, with_3d),
        *further_sections(results, test),
    ]  # fmt: skip
    sections.insert(0, _glance(results, test, real))
    footer = f"microtomo {version('microtomo')}, {machine()}. Made by `microtomo reproduce sem`."
    report = Report("SEM microtomography: the report, computed again", _lead(settings), sections, footer)
    write_markdown(report, folder / "report.md")
    return write_report(report, folder / "index.html"), results.below


def _lead(s: Settings) -> str:
    missing = s.untrained("material")
    left_out = (
        f" Methods without weights for material contrast, left out there: {', '.join(missing)}." if missing else ""
    )
    return f"""
Every table and figure of the report "Microtomography: material 3-d structure recovery having electron-microscopy
scans" (Artemov, Bulavko, Kukushkin, Kotlyar-Shapiro & Razorenova), from seeds alone. Data: {s.samples} Perlin test
structures of {s.size} x {s.size} pixels, seed {s.seed}, on which nothing was trained or chosen, and the experimental
structure; gold under aluminium on silicon, 31 energies from 5 to 35 keV, {NOISE:.0%} multiplicative Gaussian noise,
published contrast, unless something else is said. Every method estimates the noise level from the scan. The networks
are the shipped ones of the same names, trained with other data, inputs and outputs than the report's; the numerical
solution is least squares with Tikhonov regularisation, as there, from the best point of a grid.

Beyond the report: stability against noise up to {max(s.noises):.0%}, both contrasts, the bound of what one pixel can
tell, error by thickness, and what quality costs.{left_out}
"""


def _glance(results: Results, test: Mapping[str, Statistics], real: Mapping[str, Statistics]) -> Section:
    groups = {}
    for name, statistics, theirs in (
        ("test set", test, published.TEST),
        ("experimental structure", real, published.EXPERIMENTAL),
    ):
        ours = [ScoreBar(m, one.scores.miou) for m, one in statistics.items()]
        names = published.NAMES
        groups[name] = ours + [ScoreBar(f"{names[m]}, report", v[0], published=True) for m, v in theirs.items()]
    below = results.below
    text = (
        f"Below the published figures: {'; '.join(below)}."
        if below
        else "No figure of ours is below its published one."
    )
    picture = results.draw(score_figure(groups), "scores", f"Mean IoU, ours and the report's, {NOISE:.0%} noise.")
    return Section("At a glance", text, pictures=[picture])


def _numerical(results: Results) -> list[Section]:
    """Table 2.3, and its rows that stand in Table 2.1."""
    chosen = [m for m in NUMERICAL_METHODS if m in results.methods]
    if not chosen:
        return []
    jobs = {str(m): {n: results.jobs[experimental(n), m][0] for n in NUMERICAL} for m in chosen}
    scores = {m: {n: collect([job], results.folder) for n, job in levels.items()} for m, levels in jobs.items()}
    table = results.save_table(tables.by_noise(scores, published.EXPERIMENTAL_NOISE), "table_2_3", "table 2.3")
    text = """
The experimental structure. The report has figures at three levels, in its Table 2.1. Its voxels are the thickness
rounded down: where a pad of 10 nm is found 9.99 nm thick, no voxel of gold is left, so a score without noise can be
below one with noise although no thickness is wrong.
"""
    pictures = [_noisy_maps(results, m, levels) for m, levels in jobs.items()]
    return [Section("Table 2.3: numerical solution against noise", text, table, pictures=pictures)]


def _noisy_maps(results: Results, method: str, levels: Mapping[float, ReconstructionJob]) -> Picture:
    maps = {}
    for noise, job in levels.items():
        kept = read_kept(job, results.folder)
        assert kept is not None, "jobs ran before"
        rec, truth = kept[0], kept[1].thickness[0]
        maps["no noise" if noise == 0 else f"{noise:.1%} noise"] = rec.thickness[0]
    figure = thickness_figure(maps, rec.stack, truth=truth, pixel_nm=rec.pixel_nm, title=f"{method} against noise")
    return results.draw(figure, f"table_2_3_{method}", f"{method}: thickness and its error, by noise.")


def _training(results: Results) -> list[Section]:
    """Figures 5 and 6."""
    s = results.settings
    trained = {r.network: r.curves(results.folder) for r in training.training_jobs(s) if r.ratio in (None, 1.0)}
    if not trained:
        return []
    how = f"""
Networks trained for this page on scans of {s.train_pixels} x {s.train_pixels} pixels, with the published inputs,
outputs and losses, their first level {s.train_width} channels wide (3Conv at its published size), on up to
{s.train_samples} samples, fewer for the slower ones. That is far less than the report's 150 epochs of 9400 scans: it
shows how they compare, not how far they get. The other tables are of the shipped weights.
"""
    sections = []
    if "unet" in trained:
        networks, truth = training.weighted(s, results.folder)
        thickness = {name: w.thickness for name, w in networks.items()}
        maps = thickness_figure(thickness, load_stack(STACK), truth=truth, title="UNet by weight of the layers")
        pictures = [
            results.draw(training.weights_figure(networks), "figure_5_errors", "Root mean square error of each layer."),
            results.draw(maps, "figure_5_maps", "One structure: truth, each network, and its error below."),
        ]
        heading = "Figure 5: weight of the layers in the loss"
        sections.append(Section(heading, f"{_LOSSES}\n\n{how}", pictures=pictures))
    drawn = results.draw(
        training.curves_figure(trained), "figure_6", "a) Loss, cut at 2, b) mIoU on validation structures."
    )
    text = "The same networks and trainings as in Figure 5, UNet with weight 1." if sections else how
    return [*sections, Section("Figure 6: training of the networks", text, pictures=[drawn])]


def _structures(results: Results, with_3d: bool) -> list[Section]:
    """Tables 3.1, 3.2 and 4."""
    every = structures(results.settings)
    sections = [_maps(results, i, one) for i, one in enumerate(every)]
    if not with_3d:
        return sections
    scores = {one.name: agreement(one, results.folder) for one in every}
    pictures = drawings(results.settings)
    for what, name, heading, caption in (
        ("thickness", "table_3_2", "Table 3.2: 3D structures from thickness", "True to the thickness; z is stretched."),
        ("volume", "table_4", "Table 4: 3D structures as voxels", "Voxels of 10 nm; z is stretched."),
        ("gold", "table_4_gold", "Table 4: gold layer", "The gold of the same volumes, aluminium taken off."),
    ):
        rows = {one.name: [d for d in pictures if d.structure == one and d.what == what] for one in every}
        figure = gallery_figure({n: row for n, row in rows.items() if row}, scores, results.folder)
        sections.append(Section(heading, pictures=[results.draw(figure, name, caption)]))
    return sections


def _maps(results: Results, i: int, structure: Structure) -> Section:
    recs, truth = structure.read(results.folder)
    maps = {m: recs[m].thickness for m in FLAT if m in recs} or {m: rec.thickness for m, rec in recs.items()}
    best = recs.get("map") or next(iter(recs.values()))
    figure = thickness_figure(maps, best.stack, truth=truth, pixel_nm=best.pixel_nm)
    drawn = results.draw(figure, f"table_3_1_{i}", "Thickness: truth, each method, and its error below.")
    scene = None
    if i == 0:
        scene = thickness_scene(
            best.thickness, best.stack, pixel_nm=best.pixel_nm, most_faces=MOST_FACES,
            title=f"{structure.name}: {best.method}",
        )  # fmt: skip
    return Section(f"Table 3.1: thickness, {structure.name}", scene=scene, pictures=[drawn])
