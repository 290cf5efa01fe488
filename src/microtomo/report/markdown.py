"""A report as Markdown, and its tables as CSV, for those who read or reckon outside a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from microtomo.errors import printable
from microtomo.io.atomic import whole_file, writing
from microtomo.io.tables import write_csv
from microtomo.report.page import Cell, Report, Section, Table


def write_markdown(report: Report, path: str | Path) -> Path:
    """Write a report as Markdown beside its pictures, which it names by their path from there; scenes are left out.

    Raises MicrotomoError where it cannot be written.
    """
    path = Path(path)
    parts = [f"# {report.title}", report.lead, *(_section(s, path.parent) for s in report.sections), report.footer]
    with whole_file(path) as temporary, writing(path):
        temporary.write_text("\n\n".join(p for p in parts if p) + "\n", encoding="utf-8")
    return path


def write_table(table: Table, path: str | Path) -> Path:
    """Write a table as CSV, as it reads. Raises MicrotomoError where it cannot be written."""
    return write_csv(path, table.header, ([_text(cell) for cell in row] for row in table.rows))


def _section(section: Section, folder: Path) -> str:
    parts = [f"## {section.heading}", section.text]
    if section.table is not None:
        parts.append(_table(section.table))
    parts += [f"![{p.caption}]({p.path.relative_to(folder).as_posix()})" for p in section.pictures]
    return "\n\n".join(p for p in parts if p)


def _table(table: Table) -> str:
    lines = [_line(table.header), _line(["---", *["---:"] * (len(table.header) - 1)])]
    for row in table.rows:
        lines.append(_line([f"**{c.text}**" if isinstance(c, Cell) and (c.best or c.worse) else _text(c) for c in row]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape(printable(c), quote=False).replace("|", "\\|") for c in cells) + " |"


def _text(cell: Cell | str) -> str:
    return cell if isinstance(cell, str) else cell.text
