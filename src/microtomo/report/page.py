"""A report as one HTML file: text, score tables, pictures and scenes, with nothing fetched from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import quote

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.viz.scene import Scene
from microtomo.viz.web import PAGE_POLICY, scene_page


@dataclass(frozen=True)
class Cell:
    """A table cell; ``worse`` marks one of our figures that is worse than the published one, ``best`` the best of its
    column."""

    text: str
    worse: bool = False
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table; plain strings are cells, the first column names the row. ``published`` lists rows by number to grey."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    published: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG file to put into the page, with a caption that also serves readers who cannot see it; two pictures of
    ``half`` the width stand side by side."""

    path: Path
    caption: str
    half: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with text (paragraphs by blank lines), then table, scene and pictures, whichever there are."""

    heading: str
    text: str = ""
    table: Table | None = None
    scene: Scene | None = None
    pictures: Sequence[Picture] = ()
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Report:
    """A page: title, lead paragraph and sections; ``footer`` says with what it was made."""

    title: str
    lead: str = ""
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""


_STYLE = """
:root { color-scheme: light dark;
  --ink: #222; --faint: #666; --paper: #fff; --line: #d8d8d8; --band: #f4f4f4; --bad: #b00020; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #a6a6a6; --paper: #1b1c1e; --line: #45474b; --band: #26282b; --bad: #ff8a80; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 8px; } h2 { font-size: 20px; margin: 40px 0 8px; }
p { max-width: 46em; margin: 8px 0; } footer, figcaption, .note { color: var(--faint); font-size: 14px; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px; text-align: right; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; } td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid var(--ink); }
tr.published td { color: var(--faint); background: var(--band); }
td.worse { color: var(--bad); font-weight: 600; } td.best { font-weight: 700; }
figure { margin: 16px 0; } .half { display: inline-block; width: 49%; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); }
iframe { width: 100%; height: 620px; border: 1px solid var(--line); } a { color: inherit; }
""".strip()


def report_page(report: Report) -> str:
    """The HTML text of a report. Raises MicrotomoError for a picture that cannot be read."""
    body = "\n".join(_section(s) for s in report.sections)
    lead, footer = _paragraphs(report.lead), f"<footer>{_paragraphs(report.footer)}</footer>" if report.footer else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{PAGE_POLICY}">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(report.title)}</h1>{lead}\n{body}\n{footer}</main></body></html>\n"
    )


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report to one HTML file. Raises MicrotomoError where it cannot be written."""
    page = report_page(report)
    with whole_file(path) as temporary, writing(path):
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.heading)}</h2>", _paragraphs(section.text)]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.scene is not None:
        inner = escape(scene_page(section.scene), quote=True)
        title = f'title="{escape(section.scene.title)}"'
        parts.append(f'<iframe loading="lazy" sandbox="allow-scripts" {title} srcdoc="{inner}"></iframe>')
    parts += [_picture(p) for p in section.pictures]
    if section.links:
        links = " · ".join(f'<a href="{_address(target)}">{escape(text)}</a>' for text, target in section.links)
        parts.append(f'<p class="note">{links}</p>')
    return "\n".join([*parts, "</section>"])


def _address(target: str) -> str:
    """The address of a file beside the page, whatever its name; one of the web as it is."""
    return escape(target) if target.startswith("https://") else quote(target, errors="surrogateescape")


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(p.strip())}</p>" for p in text.split("\n\n") if p.strip())


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in table.header)
    rows = []
    for i, row in enumerate(table.rows):
        cells = "".join(_cell(c) for c in row)
        rows.append(f"<tr{' class=published' if i in table.published else ''}>{cells}</tr>")
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    kind = "worse" if cell.worse else "best" if cell.best else ""
    return f"<td{f' class={kind}' if kind else ''}>{escape(cell.text)}</td>"


def _picture(picture: Picture) -> str:
    try:
        data = base64.b64encode(picture.path.read_bytes()).decode()
    except OSError as error:
        raise MicrotomoError(f"{picture.path}: cannot be read ({error.strerror}): draw it before the page") from None
    caption, source = escape(picture.caption), f"data:image/png;base64,{data}"
    kind = " class=half" if picture.half else ""
    return f'<figure{kind}><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
