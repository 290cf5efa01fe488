"""A calibration as a page: the fit of every film, the values with their error bars, and what the data cannot tell."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from microtomo.inverse.calibration import Calibration, Parameter
from microtomo.report.page import Picture, Report, Section, Table, write_report
from microtomo.viz.calibration import calibration_figure
from microtomo.viz.figures import save_figure

_ABOUT = (
    "Error bars are one standard deviation. Their parts: noise, with what was assumed before the fit; and the physics, "
    "the differences between three honest choices of elastic cross-sections (Mott's with and without (Z + 1)/Z, and "
    "Browning's). A value that is not told stays as wide as it was assumed."
)


def heading(calibration: Calibration) -> str:
    """What was calibrated, in a line."""
    count = len(calibration.standards.names)
    films = f"{count} standard{'s' if count != 1 else ''}"
    response = calibration.stack.detector.response if calibration.stack.detector else ""
    seen = {"energy": "a detector that weighs energy", "counts": "a detector that counts electrons"}.get(response, "")
    return f"{calibration.stack.name}: {films}, {seen}, chi-square {calibration.chi_square:.2f}"


def value_table(calibration: Calibration) -> Table:
    """The values with their error bars."""
    header = ["", "value", "error", "of noise", "of physics", "assumed before", "told"]
    return Table(header, [_row(p) for p in calibration.parameters])


def _row(p: Parameter) -> list[str]:
    numbers = [f"{p.value:.4g}", *(f"{v:.2g}" for v in (p.deviation, p.by_noise, p.by_physics))]
    name = f"{p.name}, {p.unit}" if p.unit else p.name
    return [name, *numbers, f"{p.assumed[0]:.4g} ± {p.assumed[1]:.2g}", "yes" if p.told else "no"]


def write_page(calibration: Calibration, path: str | Path, footer: str = "") -> Path:
    """Figure, table and words as one HTML file. Raises MicrotomoError where it cannot be written."""
    with TemporaryDirectory() as folder:
        caption = "Measured and fitted signal of every film; residuals in percent."
        picture = Picture(save_figure(calibration_figure(calibration), Path(folder) / "fit.png"), caption)
        said = "\n\n".join(f"{note[0].upper()}{note[1:]}." for note in calibration.notes)
        sections = [
            Section("What was found", f"{_ABOUT}\n\n{said}", value_table(calibration)),
            Section("The fit", pictures=[picture]),
        ]
        return write_report(Report(heading(calibration), "", sections, footer), path)
