"""The quality page of an imported stack: what was recorded, what was done to it, whether to trust an inversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from microtomo.acquisition.importing import Imported
from microtomo.report.page import Cell, Picture, Report, Section, Table, write_report
from microtomo.viz import colours
from microtomo.viz.figures import lateral, new_figure, save_figure, styled
from microtomo.viz.scan_figures import scan_figure

_ROWS_SHOWN = 80  # of the table: energies of a fine series, which a page still carries


def quality_page(imported: Imported, path: str | Path, title: str = "Imported scan") -> Path:
    """Write the page as one HTML file. Raises MicrotomoError where it cannot be written."""
    with TemporaryDirectory() as folder:
        return write_report(_report(imported, Path(folder), title), path)


def quality_folder(imported: Imported, folder: str | Path, title: str = "Imported scan") -> Path:
    """Write ``quality.html``, its pictures as PNG and ``shifts.csv`` into a folder, made where it is missing."""
    from microtomo.io.atomic import writing
    from microtomo.io.tables import write_csv

    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if imported.shifts is not None:
        header, *rows = shift_rows(imported)
        write_csv(folder / "shifts.csv", header, rows)
    return write_report(_report(imported, folder, title), folder / "quality.html")


def shift_rows(imported: Imported) -> list[list[str]]:
    """Shifts as rows of text, a header first: energy [keV], dy and dx in pixels and in nm, and their errors."""
    rows = [["energy_kev", "dy_px", "dx_px", "dy_nm", "dx_nm", "error_dy_px", "error_dx_px"]]
    if imported.shifts is not None:
        size = imported.scan.pixel_nm
        for energy, (dy, dx), (ey, ex) in zip(
            imported.scan.energies_kev, imported.shifts.pixels, imported.shifts.error, strict=True
        ):
            rows.append([f"{energy:g}", *(f"{v:.3f}" for v in (dy, dx, dy * size, dx * size, ey, ex))])
    return rows


def _report(imported: Imported, folder: Path, title: str) -> Report:
    def picture(draw: Callable[[Imported], Figure], name: str, caption: str) -> Picture:
        return Picture(save_figure(draw(imported), folder / f"{name}.png"), caption)

    verdict = "\n\n".join(f"{'Grave' if f.grave else 'Note'}: {f.text}." for f in imported.findings)
    sections = [
        Section("Verdict", verdict or "Noise, range, shifts and substrate leave nothing to mend."),
        Section(
            "Grey levels",
            "Counts as recorded, and where the range ends. Pixels at its end have lost their signal.",
            pictures=[picture(histogram_figure, "histograms", "How many pixels have which grey level, by energy.")],
        ),
        Section(
            "Noise",
            "From local differences, which need no substrate, and from the scatter of the substrate's pixels, both "
            "before any image was moved. Where the second is much higher, the region is not even.",
            pictures=[picture(noise_figure, "noise", "Relative noise of a pixel, by energy.")],
        ),
    ]
    if imported.shifts is not None:
        sections.append(_drift(imported, picture))
    sections += [
        Section(
            "Substrate and gain",
            _substrate_text(imported),
            pictures=[
                picture(substrate_figure, "substrate", "The region taken for bare substrate, and the gain it gives.")
            ],
        ),
        Section(
            "The scan",
            "Signal over substrate as it was written.",
            pictures=[picture(_scan, "scan", "The imported scan at a few energies.")],
        ),
        Section("Numbers", table=_table(imported)),
    ]
    return Report(title, f"{imported.summary}\n\n{_facts(imported)}", sections)


def _facts(imported: Imported) -> str:
    """What was recorded, in a few sentences."""
    recorded, scan = imported.recording, imported.scan
    count, height, width = recorded.images.shape
    energies = (
        f"{scan.energies_kev[0]:g} to {scan.energies_kev[-1]:g} keV" if count > 1 else f"{scan.energies_kev[0]:g}"
    )
    facts = (
        f"{count} images of {height} x {width} pixels, {energies}, {recorded.images.dtype} from "
        f"{len(recorded.files)} file{'s' if len(recorded.files) > 1 else ''}. "
    )
    facts += (
        "No pixel size is known: 10 nm was taken." if recorded.pixel_nm is None else f"A pixel is {scan.pixel_nm:g} nm."
    )
    return facts


def _drift(imported: Imported, picture: Callable[..., Picture]) -> Section:
    assert imported.shifts is not None
    high, wide = imported.recording.images.shape[1:]
    rows, columns = imported.field
    if not imported.corrected:
        text = "The shifts were measured but left in, as asked."
    elif (rows.stop - rows.start, columns.stop - columns.start) == (high, wide):
        text = (
            "The images were moved back; the whole field was kept, so that edges repeat where an image does not reach."
        )
    else:
        text = (
            f"The images were moved back and cropped to the field that all of them show: rows {rows.start} to "
            f"{rows.stop} and columns {columns.start} to {columns.stop} of {high} x {wide}."
        )
    reference = imported.scan.energies_kev[imported.shifts.reference]
    drawn = picture(drift_figure, "drift", f"Shift of each image against that at {reference:g} keV, with its error.")
    return Section("Drift", text, pictures=[drawn])


def _substrate_text(imported: Imported) -> str:
    bare = imported.substrate
    rows, columns = bare.box
    if bare.given:
        source = "was given"
    else:
        source = "was found: taken for the substrate, it makes the other regions most like what the stack can give"
    fit = "" if np.isnan(bare.misfit) else f" Regions of the image then differ from the stack by {bare.misfit:.2%}."
    return (
        f"The substrate, {bare.mask.sum()} pixels within rows {rows.start} to {rows.stop} and columns "
        f"{columns.start} to {columns.stop} of the scan, {source}. Dividing by its mean takes out the gain of each "
        f"energy.{fit}"
    )


def _table(imported: Imported) -> Table:
    header = ["energy [keV]", "saturated", "black", "noise", "substrate noise", "gain [counts]", "gain error"]
    levels, shifts = imported.levels, imported.shifts
    if shifts is not None:
        header += ["dy [px]", "dx [px]", "dy [nm]", "dx [nm]", "error [px]"]
    rows: list[Sequence[Cell | str]] = []
    for e, energy in enumerate(imported.scan.energies_kev[:_ROWS_SHOWN]):
        row: list[Cell | str] = [
            f"{energy:g}",
            Cell(f"{levels.saturated[e]:.2%}", worse=bool(levels.saturated[e] > 1e-3)),
            Cell(f"{levels.black[e]:.2%}", worse=bool(levels.black[e] > 1e-3)),
            f"{levels.noise[e]:.2%}",
            f"{imported.substrate_noise[e]:.2%}",
            f"{imported.substrate.gain[e]:.5g}",
            f"{imported.substrate.gain_error[e]:.3%}",
        ]
        if shifts is not None:
            dy, dx = shifts.pixels[e]
            size = imported.scan.pixel_nm
            row += [f"{dy:.2f}", f"{dx:.2f}", f"{dy * size:.1f}", f"{dx * size:.1f}", f"{shifts.error[e].max():.2f}"]
        rows.append(row)
    return Table(header, rows)


@styled
def histogram_figure(imported: Imported) -> Figure:
    """How many pixels have which count: an image of energy against counts, and single energies as curves."""
    images, energies = imported.recording.images, imported.scan.energies_kev
    low, high = float(images.min()), float(images.max())
    bins = np.linspace(low, high if high > low else low + 1, 129)
    counts = np.stack([np.histogram(image, bins)[0] for image in images])
    figure = new_figure(9.2, 3.6)
    left, right = figure.subplots(1, 2)
    edges = np.arange(len(energies) + 1) - 0.5
    drawn = left.pcolormesh(
        bins, edges, np.maximum(counts, 0.5), cmap=colours.THICKNESS_MAP, norm=LogNorm(1, max(counts.max(), 2))
    )
    shown = np.unique(np.linspace(0, len(energies) - 1, min(7, len(energies))).round().astype(int))
    left.set_yticks(shown, [f"{energies[e]:g}" for e in shown])
    left.set(xlabel="counts", ylabel="energy [keV]")
    figure.colorbar(drawn, ax=left).set_label("pixels")
    for n, e in enumerate(np.unique([0, len(energies) // 2, len(energies) - 1])):
        right.stairs(counts[e], bins, color=colours.METHOD_COLOURS[n], label=f"{energies[e]:g} keV", linewidth=1.4)
    if imported.dark is not None and low <= imported.dark:
        right.axvline(imported.dark, color=colours.FAINT, linestyle=":", label="dark level")
    if imported.levels.top is not None and high >= 0.9 * imported.levels.top:
        right.axvline(imported.levels.top, color=colours.METHOD_COLOURS[1], linestyle="--", label="end of the range")
    right.set(xlabel="counts", ylabel="pixels")
    right.legend(frameon=False)
    return figure


@styled
def noise_figure(imported: Imported) -> Figure:
    """Relative noise by energy, from local differences and from the substrate."""
    figure = new_figure(7.5, 3.2)
    axis = figure.subplots()
    for values, label, colour, mark in (
        (imported.levels.noise, "local differences", colours.METHOD_COLOURS[0], "o-"),
        (imported.substrate_noise, "scatter of the substrate", colours.METHOD_COLOURS[1], "s--"),
    ):
        axis.plot(imported.scan.energies_kev, 100 * values, mark, color=colour, label=label, markersize=4)
    axis.set(xlabel="energy [keV]", ylabel="noise of a pixel [%]")
    axis.set_ylim(0, 1.25 * 100 * max(imported.levels.noise.max(), imported.substrate_noise.max(), 1e-4))
    axis.legend(frameon=False)
    return figure


@styled
def drift_figure(imported: Imported) -> Figure:
    """Shifts with their errors by energy, and the way of the image over the field."""
    assert imported.shifts is not None
    energies, pixels, error = imported.scan.energies_kev, imported.shifts.pixels, imported.shifts.error
    figure = new_figure(9.2, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for k, (name, mark) in enumerate((("rows (dy)", "o-"), ("columns (dx)", "s-"))):
        colour = colours.METHOD_COLOURS[k]
        left.errorbar(energies, pixels[:, k], error[:, k], fmt=mark, color=colour, label=name, markersize=4, capsize=2)
    left.axhline(0, color=colours.FAINT, linewidth=0.7)
    left.set(xlabel="energy [keV]", ylabel="shift [pixels]")
    size = imported.scan.pixel_nm
    other = left.secondary_yaxis("right", functions=(lambda p: p * size, lambda nm: nm / size))
    other.set_ylabel("shift [nm]")
    left.legend(frameon=False)
    right.plot(pixels[:, 1], pixels[:, 0], color=colours.FAINT, linewidth=0.8, zorder=1)
    drawn = right.scatter(pixels[:, 1], pixels[:, 0], c=energies, cmap=colours.THICKNESS_MAP, s=22, zorder=2)
    figure.colorbar(drawn, ax=right).set_label("energy [keV]")
    right.set(xlabel="dx [pixels]", ylabel="dy [pixels]")
    right.invert_yaxis()
    right.set_aspect("equal", adjustable="datalim")
    return figure


@styled
def substrate_figure(imported: Imported) -> Figure:
    """Mean signal with the substrate outlined, and the gain by energy."""
    scan = imported.scan
    figure = new_figure(9.2, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    extent, unit = lateral(scan.pixel_nm, scan.shape)
    mean = np.asarray(scan.data).mean(0)
    low, high = np.percentile(mean, (0.5, 99.5))
    left.imshow(mean, cmap=colours.SIGNAL_MAP, vmin=low, vmax=max(high, low + 1e-6), extent=extent)
    shade = np.zeros((*imported.substrate.mask.shape, 4))
    shade[imported.substrate.mask] = (0.84, 0.37, 0.0, 0.45)
    left.imshow(shade, extent=extent, interpolation="nearest")
    left.set(xlabel=f"x [{unit}]", ylabel=f"y [{unit}]", title="mean signal, substrate in orange")
    gain, error = imported.substrate.gain, imported.substrate.gain * imported.substrate.gain_error
    right.errorbar(scan.energies_kev, gain, error, fmt="o-", color=colours.METHOD_COLOURS[0], markersize=4, capsize=2)
    right.set(xlabel="energy [keV]", ylabel="counts of bare substrate above dark")
    return figure


def _scan(imported: Imported) -> Figure:
    figure: Figure = scan_figure(imported.scan.data, imported.scan.energies_kev, pixel_nm=imported.scan.pixel_nm)
    return figure
