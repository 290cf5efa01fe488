"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

_FORWARD = "Forward model: material or published, see docs/physics.md"

Forward = Annotated[str, typer.Option("--forward", "--contrast", metavar="MODEL", help=f"{_FORWARD}.")]
"""The forward model of a verb that has a default of its own."""

GivenForward = Annotated[
    str | None, typer.Option("--forward", "--contrast", metavar="MODEL", help=f"{_FORWARD}; else what the file says.")
]
"""The forward model where a file or a configuration may say it."""
