"""``microtomo evaluate --all``: one leaderboard of solvers and networks."""

from __future__ import annotations

import sys

import typer

from microtomo.errors import MicrotomoError


def leaderboard(pattern: str, samples: int, validation: bool, as_json: bool) -> None:
    """Run every method that matches in every trial, and print the table (or JSON)."""
    from rich.console import Console
    from rich.table import Table

    from microtomo import seeds
    from microtomo.inverse import leaderboard as board
    from microtomo.io.atomic import machine
    from microtomo.registry import list_methods

    methods = list_methods(pattern, task="sem")
    if not methods:
        known = ", ".join(method.name for method in list_methods(task="sem"))
        raise MicrotomoError(f"no method for scans matches {pattern!r}: there are {known}")
    seed = seeds.VALIDATION_SEED if validation else seeds.TEST_SEED

    def told(entry: board.Entry) -> None:
        print(f"{entry.trial}: {entry.method} {entry.miou:.4f}, {entry.seconds:.2f} s a scan", file=sys.stderr)

    entries = board.run_all(methods, samples, seed, told)
    if as_json:
        typer.echo(board.as_json(entries, samples, seed, machine()))
        return
    console = Console(width=118)
    for trial in board.TRIALS:
        rows = sorted((e for e in entries if e.trial == trial.name), key=lambda e: -e.miou)
        if not rows:
            continue
        count = rows[0].samples
        table = Table(title=f"{trial.name}: {trial.forward}, {trial.noise:.0%} noise, {count} scan(s)")
        for column in ("method", "published", "mIoU", "pooled", "recall", "accuracy", "RMSE nm", "95 % holds", "s"):
            table.add_column(column, justify="left" if column == "method" else "right")
        for e in rows:
            below = e.published is not None and e.miou < e.published
            table.add_row(
                e.method,
                "-" if e.published is None else f"{e.published:.3f}",
                f"[red]{e.miou:.4f}[/red]" if below else f"{e.miou:.4f}",
                f"{e.pooled_miou:.4f}",
                f"{e.mrecall:.4f}",
                f"{e.maccuracy:.4f}",
                " / ".join(f"{v:.2f}" for v in e.rmse_nm),
                " / ".join(f"{v:.1%}" for v in e.coverage95),
                f"{e.seconds:.2f}",
            )
        console.print(table)
    console.print(f"{machine()}; structures of seed {seed}, 128 x 128 pixels; noise level estimated from each scan")
