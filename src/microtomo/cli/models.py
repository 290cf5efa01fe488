"""``microtomo models``: what methods there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from microtomo.cli.say import say

if TYPE_CHECKING:
    from microtomo.registry import Method


def models(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Wildcard for the name, such as 'm*'.")] = "*",
    task: Annotated[str | None, typer.Option(help="Only methods of one task: {all tasks}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the methods: what each does, its size, its scores and whom to cite."""
    from microtomo.errors import MicrotomoError
    from microtomo.registry import get_task, list_methods

    methods = list_methods(pattern, task=None if task is None else get_task(task).name)
    entries = [_entry(method) for method in methods]
    if as_json:
        say(json.dumps(entries))
        return
    if not methods:
        known = ", ".join(method.name for method in list_methods(task=task))
        raise MicrotomoError(f"no method matches {pattern!r}: there are {known or 'none'}")
    for method, entry in zip(methods, entries, strict=True):
        say(*_lines(method, entry))


def _entry(method: Method) -> dict[str, Any]:
    """What there is to say of a method; its scores stand under the key of its task's metric."""
    from microtomo.registry import get_task, known_scores

    task = get_task(method.task)
    key = task.metric.key
    entry = {name: getattr(method, name) for name in ("name", "task", "summary")}
    published = None if method.published is None else next(iter(method.published.scores.values()))
    entry |= {f"published_{key}": published, "citation": method.citation, key: known_scores(task.name).get(method.name)}
    if method.learned and task.input == "scan":
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


def _lines(method: Method, entry: dict[str, Any]) -> list[str]:
    from microtomo.registry import get_task

    metric = get_task(method.task).metric
    scores = [
        f"{word} {metric.title} {value:.3f}"
        for word, value in (("published", entry[f"published_{metric.key}"]), ("ours", entry[metric.key]))
        if value is not None
    ]
    lines = [f"{method.name} ({', '.join([method.task, *scores])})", f"  {method.summary}"]
    if "forward" in entry:
        size = f"{entry['published_parameters'] / 1e6:.2f} M parameters at the published size"
        if entry["forward"]:
            size = (
                f"{entry['parameters'] / 1e6:.2f} M parameters, {entry['bytes'] / 1e6:.1f} MB of weights for "
                f"{' and '.join(entry['forward'])} ({size})"
            )
        lines.append(f"  {size}")
    return [*lines, f"  Cite: {method.citation}"]
