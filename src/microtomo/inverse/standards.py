"""Films of known thickness in a scan: from maps of thickness, or from a table of regions."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError, nearest
from microtomo.inputs import read_text
from microtomo.io.arrays import read_npy
from microtomo.io.kinds import NPY, format_of
from microtomo.io.micrographs import read_pixels
from microtomo.io.scans import read_truth
from microtomo.materials import Stack
from microtomo.scan import Scan, as_tensor

_MOST_FILMS = 24  # of maps: solving them takes some seconds
_FEWEST_PIXELS = 8  # whose scatter tells the noise of their mean
_PLACE = ("rows", "columns", "mask", "sample")


@dataclass(frozen=True)
class Standards:
    """Films of known thickness (l, f) [nm], their mean signal (f, e), its relative standard deviation (f, e), the
    number of pixels (f,) behind it, and a name for each."""

    names: tuple[str, ...]
    thickness: np.ndarray
    signal: np.ndarray
    deviation: np.ndarray
    pixels: np.ndarray


def standards_from_maps(scan: Scan, thickness: np.ndarray, noise: float | None = None) -> Standards:
    """Standards from maps of thickness ([n,] l, y, x) [nm] of a scan.

    Pixels whose thicknesses are about the same count as one film with their mean thickness. ``noise`` is the relative
    noise of a pixel where too few pixels show it.

    Raises MicrotomoError where shapes do not fit, and for thicknesses that are negative or not finite.
    """
    data, depth = _flat(scan, np.asarray(thickness, dtype=float))
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise MicrotomoError("the known thickness has values that are negative or not finite: give 0 nm or more")
    groups = _grouped(depth)
    count = groups.max() + 1
    films = [_film(data[:, groups == g], depth[:, groups == g].mean(1), noise, scan) for g in range(count)]
    stack = _stack_of(scan)
    return _together([_name(stack, film[0]) for film in films], films)


def standards_from_table(
    scan: Scan, path: str | Path, mask: np.ndarray | None = None, noise: float | None = None
) -> Standards:
    """Standards from a CSV table: a line a film.

    Columns ``rows`` and ``columns`` (``0:10``, pixels) or ``mask`` (a value of the labelled image ``mask`` (y, x)) say
    where it is, ``sample`` (from 0) in which sample of many; a column for each layer, by symbol, its thickness [nm].

    Raises MicrotomoError, with file and line, for what cannot be understood or lies outside the image.
    """
    path, stack = Path(path), _stack_of(scan)
    names, films = [], []
    for number, row in _rows(path, stack):
        where = f"{path}, line {number}"
        depth = np.array([_number(row[symbol], where, symbol) for symbol in stack.symbols])
        data = _pixels(scan, row, mask, where)
        if not data.shape[1]:
            raise MicrotomoError(f"{where}: no pixel of the {scan.shape[-2:]} image lies there: check the place")
        films.append(_film(data, depth, noise, scan))
        names.append(_name(stack, depth))
    if not films:
        raise MicrotomoError(f"{path}: names no film: give a line for each, such as 0:10,0:64,5,0")
    return _together(names, films)


def read_standards(
    scan: Scan, known: str | Path, mask: str | Path | None = None, noise: float | None = None
) -> Standards:
    """Standards from a .csv table, or from any file that :func:`microtomo.io.scans.read_truth` takes."""
    known = Path(known)
    if known.suffix.lower() not in (".csv", ".txt"):
        if mask is not None:
            raise MicrotomoError(f"{known}: maps of thickness need no mask: leave it out, or give a .csv table")
        return standards_from_maps(scan, read_truth(known).thickness, noise)
    labels = None if mask is None else _labels(Path(mask))
    return standards_from_table(scan, known, labels, noise)


def _labels(path: Path) -> np.ndarray:
    return np.asarray(read_npy(path).data if format_of(path) is NPY else read_pixels(path))


def _stack_of(scan: Scan) -> Stack:
    if scan.stack is None:
        raise MicrotomoError("the scan names no stack: give one")
    return scan.stack


def _flat(scan: Scan, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signal (e, p) and thickness (l, p) of all pixels."""
    data, layers = as_tensor(scan.data).detach().cpu().numpy().astype(float), len(_stack_of(scan).layers)
    expected = (*data.shape[:-3], layers, *data.shape[-2:])
    if depth.shape != expected:
        raise MicrotomoError(f"the known thickness has shape {depth.shape}, this scan and its stack want {expected}")
    return np.moveaxis(data, -3, 0).reshape(data.shape[-3], -1), np.moveaxis(depth, -3, 0).reshape(layers, -1)


def _grouped(depth: np.ndarray) -> np.ndarray:
    """A number for each pixel (p,): the same for about the same thicknesses; absent layers stay apart."""
    _, exact = np.unique(np.round(depth, 3), axis=1, return_inverse=True)
    groups, steps = exact.ravel(), 2 * _MOST_FILMS
    while groups.max() >= _MOST_FILMS:
        steps -= 1
        width = np.maximum(depth.max(1, keepdims=True), 1e-9) / max(steps, 1)
        _, groups = np.unique(np.ceil(depth / width - 1e-9), axis=1, return_inverse=True)
        groups = groups.ravel()
        if steps <= 1:
            break
    return np.asarray(groups)


def _film(
    data: np.ndarray, depth: np.ndarray, noise: float | None, scan: Scan
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Thickness (l,), mean signal (e,), relative deviation of the mean (e,) and number of pixels."""
    count = data.shape[1]
    mean = data.mean(1)
    if not np.isfinite(mean).all() or (mean <= 0).any():
        raise MicrotomoError("the scan has signals that are not finite, or not above 0, on a standard: leave it out")
    if count >= _FEWEST_PIXELS:
        level = data.std(1, ddof=1) / mean
        level = np.maximum(level, np.sqrt((level**2).mean()) / 2)  # of few pixels the scatter is uncertain itself
    else:
        known = scan.noise if noise is None else noise
        if known is None:
            raise MicrotomoError(f"a standard of {count} pixels does not show its noise: give the noise level")
        level = np.full(len(mean), known)
    return depth, mean, level / np.sqrt(count), count


def _together(names: list[str], films: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]) -> Standards:
    thickness, signal, deviation, pixels = (np.array(values) for values in zip(*films, strict=True))
    return Standards(tuple(names), thickness.T, signal, deviation, pixels)


def _name(stack: Stack, depth: np.ndarray) -> str:
    """Top to bottom, as one sees the stack."""
    there = [f"{s} {d:.4g} nm" for s, d in zip(stack.symbols, depth, strict=True) if d > 0]
    return " on ".join(reversed(there)) or f"bare {stack.substrate.symbol}"


def _rows(path: Path, stack: Stack) -> list[tuple[int, Mapping[str, str]]]:
    """Lines of the table by number, their columns checked."""
    try:
        text = read_text(path)
    except MicrotomoError:
        raise MicrotomoError(
            f"{path}: cannot be read as text: give a .csv table, or a file with thickness maps"
        ) from None
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    for name in columns:
        if name not in (*_PLACE, *stack.symbols):
            raise MicrotomoError(f"{path}: unknown column {name!r}; {nearest(name, [*_PLACE, *stack.symbols])}")
    missing = [s for s in stack.symbols if s not in columns]
    if missing or not ({"rows", "columns"} <= set(columns) or "mask" in columns):
        wanted = ",".join(["rows", "columns", *stack.symbols])
        raise MicrotomoError(f"{path}: a column is missing: the first line must be {wanted} (or mask for the place)")
    lines = [(reader.line_num, {k: (v or "").strip() for k, v in row.items() if k}) for row in reader]
    return [(number, row) for number, row in lines if any(row.values())]


def _pixels(scan: Scan, row: Mapping[str, str], mask: np.ndarray | None, where: str) -> np.ndarray:
    """Signal (e, p) of the place that a line names."""
    data = as_tensor(scan.data).detach().cpu().numpy().astype(float)
    if data.ndim == 4:
        sample = int(_number(row.get("sample") or "0", where, "sample"))
        if sample >= len(data):
            raise MicrotomoError(f"{where}: sample {sample} of {len(data)}: they count from 0")
        data = data[sample]
    if row.get("mask"):
        if mask is None:
            raise MicrotomoError(f"{where}: names a value of a mask: give the labelled image too")
        if mask.shape != data.shape[-2:]:
            raise MicrotomoError(
                f"the mask has shape {mask.shape}, the images {data.shape[-2:]}: give one of that size"
            )
        return np.asarray(data[:, mask == _number(row["mask"], where, "mask")])
    rows, columns = (_range(row.get(name, ""), where, name) for name in ("rows", "columns"))
    return np.asarray(data[:, rows, columns].reshape(len(data), -1))


def _number(text: str, where: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1e6:
        raise MicrotomoError(f"{where}, {name}: {text or 'nothing'}: give a number, 0 or more")
    return value


def _range(text: str, where: str, name: str) -> slice:
    ends = text.split(":")
    if len(ends) != 2 or not all(end.strip().isdigit() or not end.strip() for end in ends):
        raise MicrotomoError(f"{where}, {name}: {text or 'nothing'}: write pixels such as 0:10")
    return slice(*(int(end) if end.strip() else None for end in ends))
