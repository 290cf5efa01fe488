"""``microtomo view``: a reconstruction or a scan in a window or in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.say import say


def view(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Reconstruction, scan or data set.")],
    browser: Annotated[bool, typer.Option("--browser", help="Serve a page instead of opening a window.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on; others than 127.0.0.1 let others in.")] = "127.0.0.1",
    sample: Annotated[int, typer.Option(min=0, help="Which sample of a file with many.")] = 0,
    scan: Annotated[Path | None, typer.Option(help="Scan of a reconstruction; else the file's own input.")] = None,
) -> None:
    """Look at a reconstruction or a scan: materials, cuts, uncertainty, and the spectrum of any pixel."""
    if browser:
        from microtomo.viewer.server import check_port, import_trame

        import_trame()
        check_port(host, port)
    else:
        from microtomo.viz.gl import prepare_window

        prepare_window()
    from microtomo.io.studies import open_study
    from microtomo.viewer.show import view_in_browser

    study = open_study(file, scan, sample)
    for note in study.notes:
        say(f"note: {note}", err=True)
    if not browser:
        from microtomo.viewer.window import open_window

        open_window(study)
        return

    def ready(address: str) -> None:
        say(address)
        say(f"{file.name} is served there; Ctrl-C ends it", err=True)

    try:
        view_in_browser(study, host, port, ready)
    except KeyboardInterrupt:
        say("viewer ended", err=True)
