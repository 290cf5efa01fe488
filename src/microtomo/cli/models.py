"""``microtomo models``: what methods there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from microtomo.registry import Method


def models(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Wildcard for the name, such as 'm*'.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the methods: what each does, its size, its scores and whom to cite."""
    from microtomo.errors import MicrotomoError
    from microtomo.inverse.leaderboard import known_scores
    from microtomo.registry import list_methods

    found = list_methods(pattern)
    scores = known_scores()
    told = [_told(method, scores.get(method.name)) for method in found]
    if as_json:
        typer.echo(json.dumps(told))
        return
    if not found:
        known = ", ".join(method.name for method in list_methods())
        raise MicrotomoError(f"no method matches {pattern!r}: there are {known or 'none'}")
    for entry in told:
        typer.echo(_lines(entry))


def _told(method: Method, score: float | None) -> dict[str, Any]:
    entry = {name: getattr(method, name) for name in ("name", "task", "summary", "published_miou", "citation")}
    entry["miou"] = score
    if method.learned and method.task == "sem":
        entry |= _network(method)
    return entry


def _network(method: Method) -> dict[str, Any]:
    """Parameters and bytes of the weights that come with the package, and for which forward models there are some."""
    import torch

    from microtomo.models.architectures import Shape, build_network
    from microtomo.models.weights import read_card, shipped_weights
    from microtomo.physics.forward import forward_names

    forward = [name for name in forward_names() if method.ready(name)]
    paths = [shipped_weights(method.name, name) for name in forward]
    with torch.device("meta"):
        published = build_network(Shape.model_validate({"architecture": method.name})).parameters_count
        shipped = [build_network(read_card(path)[0]).parameters_count for path in paths]
    return {
        "parameters": shipped[0] if shipped else None,
        "published_parameters": published,
        "bytes": sum(path.stat().st_size for path in paths),
        "forward": forward,
    }


def _lines(entry: dict[str, Any]) -> str:
    scores = [
        f"{word} mIoU {value:.3f}"
        for word, value in (("published", entry["published_miou"]), ("ours", entry["miou"]))
        if value is not None
    ]
    lines = [f"{entry['name']} ({', '.join([entry['task'], *scores])})", f"  {entry['summary']}"]
    if "forward" in entry:
        size = f"{entry['published_parameters'] / 1e6:.2f} M parameters at the published size"
        if entry["forward"]:
            size = (
                f"{entry['parameters'] / 1e6:.2f} M parameters, {entry['bytes'] / 1e6:.1f} MB of weights for "
                f"{' and '.join(entry['forward'])} ({size})"
            )
        lines.append(f"  {size}")
    return "\n".join([*lines, f"  Cite: {entry['citation']}"])
