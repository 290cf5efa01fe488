"""``microtomo reproduce``: published work computed again, a sub-command each."""

from __future__ import annotations

import typer

from microtomo.cli.reproduce_graphene import graphene
from microtomo.cli.reproduce_overcoat import overcoat
from microtomo.cli.reproduce_particles import particles
from microtomo.cli.reproduce_robustness import robustness
from microtomo.cli.reproduce_sem import sem
from microtomo.cli.verb import Verb

reproduce = typer.Typer(no_args_is_help=True, help="Compute published tables again, ours beside the published figures.")
for _verb in (sem, graphene, particles, overcoat, robustness):
    reproduce.command(cls=Verb)(_verb)
