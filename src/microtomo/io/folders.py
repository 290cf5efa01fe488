"""A folder that belongs to one job: a data set, a training run, a reproduction."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import check_output, remove_partial, whole_file, writing


@contextmanager
def claim_folder(
    folder: str | Path, file: str, description: Mapping[str, Any], kind: str, *, results: Sequence[str] = ()
) -> Iterator[Path]:
    """Hold ``folder`` for the job that ``description`` describes until the block ends, and yield its path.

    The folder is made if it is not there. ``file`` is the name of its JSON file, which gets the ``description`` (plain
    values) where the folder is empty and must hold the same one otherwise. Hidden files do not count. ``kind`` is what
    a sentence calls the job, such as "data set". ``results`` are patterns of what the job writes: where they are given
    and no file matches, a description of another job is replaced, for nothing would be lost.

    One process at a time holds a folder, where the file system has locks. What killed jobs left half-written
    (``.*.partial``, in the folder and one below) is removed at the start and at the end.

    Raises MicrotomoError where another process holds the folder, where it belongs to another job or to something
    else, and where it cannot be written.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    try:
        _lock(lock, folder, kind)
        _claim(folder, folder / file, json.loads(json.dumps(description)), kind, results)
        _remove_partial(folder)
        try:
            yield folder
        finally:
            _remove_partial(folder)
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path, kind: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MicrotomoError(f"{folder}: another run is writing this {kind}: wait for it or stop it") from None
    except OSError:  # network file systems may refuse to lock a folder
        return


def _claim(folder: Path, path: Path, description: Any, kind: str, results: Sequence[str]) -> None:
    check_output(path)
    begun = path.exists() and (not results or any(any(folder.glob(pattern)) for pattern in results))
    if begun:
        _check_same(path, description, kind)
        return
    if not path.exists() and any(entry.name[0] != "." for entry in folder.iterdir()):
        raise MicrotomoError(f"{folder}: is not empty and holds no {kind}: give another folder")
    with whole_file(path) as temporary, writing(path):
        temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _check_same(path: Path, description: Any, kind: str) -> None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise MicrotomoError(f"{path}: cannot be understood: give another folder, or remove this one") from None
    if known != description:
        differing = ", ".join(_differing(known, description))
        raise MicrotomoError(
            f"{path.parent}: holds a {kind} with other settings ({differing}): give another folder, or remove it"
        )


def _differing(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the values in which two trees differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from _differing(one.get(key), other.get(key), f"{name}.{key}" if name else key)
    elif one != other:
        yield name or "all of it"


def _remove_partial(folder: Path) -> None:
    for place in (folder, *(inside for inside in folder.iterdir() if inside.is_dir() and not inside.is_symlink())):
        remove_partial(place)
