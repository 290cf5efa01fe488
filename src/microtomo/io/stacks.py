"""Stack files: TOML out, as :func:`microtomo.materials.load_stack` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing
from microtomo.materials import Material, Stack, known_materials


def write_stack(path: str | Path, stack: Stack, notes: Sequence[str] = ()) -> None:
    """Write a stack with its detector as a TOML file that gives the same stack again; ``notes`` are comments on top.

    Raises MicrotomoError for a name that does not end in .toml, and where the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise MicrotomoError(f"{path}: a stack file is TOML: end its name in .toml")
    with whole_file(path) as temporary, writing(path):
        temporary.write_text(stack_toml(stack, notes), encoding="utf-8")


def stack_toml(stack: Stack, notes: Sequence[str] = ()) -> str:
    """The text of a stack file. Materials that are not built in, or differ from it, stand as tables in their place."""
    lines = [f"# {line}" for note in notes for line in note.splitlines()]
    lines += [
        f"name = {_value(stack.name)}",
        f"substrate = {_material(stack.substrate)}",
        f"energies_kev = {_value(stack.energies_kev)}",
    ]
    for layer in stack.layers:
        lines += ["", "[[layers]]", f"material = {_material(layer.material)}", f"max_nm = {_value(layer.max_nm)}"]
    if stack.detector is not None:
        lines += ["", "[detector]"]
        lines += [f"{key} = {_value(value)}" for key, value in stack.detector.model_dump().items() if value != ()]
    return "\n".join(lines) + "\n"


def _material(material: Material) -> str:
    known = known_materials().get(material.symbol) == material
    return _value(material.symbol if known else material.model_dump())


def _value(value: Any) -> str:
    """A value as TOML writes it; strings as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    return json.dumps(value, ensure_ascii=False)
