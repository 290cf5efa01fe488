"""Configurations from TOML files and ``a.b=value`` overrides, with errors that name the nearest known key."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from microtomo.errors import MicrotomoError, nearest
from microtomo.inputs import read_text

Model = TypeVar("Model", bound=BaseModel)


def read_settings(
    model: type[Model], path: str | Path | None = None, overrides: Sequence[str] = (), **values: Any
) -> Model:
    """A ``model`` from a TOML file, then ``values`` (``a__b`` is a.b; None is left out), then ``a.b=value`` texts.

    A ``stack`` that names a TOML file is looked for beside the file that names it. Raises MicrotomoError that names
    the key and, for an unknown one, the nearest known name.
    """
    table: dict[str, Any] = {}
    source = "configuration"
    if path is not None:
        source = str(path)
        try:
            table = tomllib.loads(read_text(path))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise MicrotomoError(f"{path}: is not valid TOML ({error})") from None
        _stacks_beside(table, Path(path).parent)
    for key, value in values.items():
        if value is not None:
            _put(table, key.replace("__", "."), value)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise MicrotomoError(f"override {override!r} is no assignment: write --set detector.noise=0.05")
        _put(table, key.strip(), _toml_value(text.strip()))
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise MicrotomoError(f"{source}: {_sentence(error, model)}") from None


def _stacks_beside(table: dict[str, Any], folder: Path) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _stacks_beside(value, folder)
        elif key == "stack" and isinstance(value, str) and value.endswith(".toml"):
            table[key] = str(folder / value)


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise MicrotomoError(f"cannot set {key}: {parent} is a single value, give it as a whole")
        table = inner
    table[last] = value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    parts = []
    for e in error.errors():
        where = ".".join(str(p) for p in e["loc"])
        if e["type"] == "extra_forbidden":
            known = _model_at(model, e["loc"][:-1])
            names = {name for each in (known, *known.__subclasses__()) for name in each.model_fields}
            parts.append(f"unknown key {where}; {nearest(str(e['loc'][-1]), sorted(names))}")
        else:
            what = e["msg"].removeprefix("Value error, ")
            parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)


def _model_at(model: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel]:
    """The model that a place of the tree is described by."""
    for name in place:
        if name not in model.model_fields:
            break
        annotation = model.model_fields[str(name)].annotation
        for part in (annotation, *get_args(annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                model = part
    return model
