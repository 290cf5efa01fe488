"""Configurations from TOML files and ``a.b=value`` overrides, with errors that name the nearest known key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from microtomo.errors import MicrotomoError, cause, nearest
from microtomo.inputs import read_text

Model = TypeVar("Model", bound=BaseModel)

_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


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
        table = read_toml(path)
        _stacks_beside(table, Path(path).parent)
    for key, value in values.items():
        if value is not None:
            _put(table, key.replace("__", "."), value)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise MicrotomoError(f"override {override!r} is no assignment: write --set detector.noise=0.05")
        _put(table, key.strip(), toml_value(text.strip()))
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


def read_toml(path: str | Path) -> dict[str, Any]:
    """The table of a TOML file. Raises MicrotomoError, with its name, where it cannot be read or is none."""
    try:
        return tomllib.loads(read_text(Path(path)))
    except MicrotomoError:
        raise
    except (ValueError, RecursionError) as error:
        raise MicrotomoError(f"{path}: is not valid TOML ({cause(error)})") from None


def toml_value(text: str) -> Any:
    """A value as TOML reads it, else the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def checked_options(owner: str, parameters: Sequence[Parameter], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``owner``, such as ``method map``, in the types that its ``parameters`` are annotated with.

    Raises MicrotomoError for an option that there is not, and for a value that is of another type.
    """
    known, checked = {p.name: p for p in parameters}, {}
    for name, value in options.items():
        if name not in known:
            raise MicrotomoError(f"{owner} has no option {name!r}; {nearest(name, list(known))}")
        annotation = Any if known[name].annotation is Parameter.empty else known[name].annotation
        try:
            checked[name] = TypeAdapter(annotation, config=_ANY_TYPE).validate_python(value)
        except ValidationError as error:
            what = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise MicrotomoError(f"option {name}={value!r} of {owner}: {what[0].lower()}{what[1:]}") from None
    return checked


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
