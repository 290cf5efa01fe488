"""Many scans, one after the other, into one folder. What is there whole is kept: an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.inverse.files import Summary, reconstruct_file
from microtomo.io.folders import claim_folder
from microtomo.io.hashing import sha256_of
from microtomo.io.names import natural_order
from microtomo.io.nexus import open_nexus
from microtomo.io.sources import open_scan

SETTINGS = "reconstruct.json"
"""File of the folder that says how its reconstructions were made."""


def scans_of(places: Sequence[str | Path]) -> list[Path]:
    """Files, data sets and patterns such as ``scan*.h5``, in natural order of the names within each pattern.

    Raises MicrotomoError for a pattern without a match, and for names that would give one result.
    """
    paths: list[Path] = []
    for place in places:
        if Path(place).exists():
            paths.append(Path(place))
            continue
        matches = sorted((Path(p) for p in glob(str(place))), key=natural_order)
        if not matches:
            raise MicrotomoError(f"{place}: no such file: check the path")
        paths += matches
    paths = list(dict.fromkeys(paths))
    stems: dict[str, Path] = {}
    for path in paths:
        if (other := stems.setdefault(path.stem, path)) != path:
            raise MicrotomoError(f"{path}: has the name of {other}: rename one, their results would collide")
    return paths


def reconstruct_files(
    paths: Sequence[Path],
    folder: str | Path,
    method: str,
    *,
    again: bool = False,
    progress: Callable[[int, str], None] = lambda done, name: None,
    **settings: Any,
) -> Iterator[tuple[Path, Path, Summary | MicrotomoError | None]]:
    """Reconstruct scans into ``folder``, NAME.h5 each, and yield scan, result and how it went, one after the other.

    That is a summary, the error of a scan that cannot be reconstructed, or None for a result that was there already,
    whole and of this scan (all are made ``again`` where that is asked for). Results hold no times: the same scans and
    settings give the same bytes, whether the run was interrupted or not. ``settings`` are those of
    :func:`microtomo.inverse.files.reconstruct_file`; ``progress`` is called with the scans done and the next one.

    Raises MicrotomoError where the folder belongs to another job or cannot be written.
    """
    with claim_folder(folder, SETTINGS, _description(method, settings), "reconstruction", results=("*.h5",)) as into:
        for done, path in enumerate(paths):
            progress(done, path.name)
            target = into / f"{path.stem}.h5"
            try:
                if not again and _made(target, path, settings.get("given") or {}):
                    yield path, target, None
                else:
                    yield path, target, reconstruct_file(path, target, method, timed=False, **settings)
            except MicrotomoError as error:
                yield path, target, error
        progress(len(paths), "")


def _made(target: Path, path: Path, given: Mapping[str, Any]) -> bool:
    """Whether the result of this very scan is there."""
    if not target.exists():
        return False
    try:
        with open_nexus(target) as (_, entry):
            known = None if entry is None else entry.text("input_sha256")
    except MicrotomoError:
        return False
    with open_scan(path, **given) as source:
        return known == source.sha256()


def _description(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the results, as plain values."""
    return {"version": version("microtomo"), "method": method, **{k: _plain(v) for k, v in sorted(settings.items())}}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Path) and value.is_file():
        return {"file": str(value), "sha256": sha256_of(value)}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
