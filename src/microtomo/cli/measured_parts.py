"""What each image of a measurement gave, on disk until the last one is done, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import whole_file, writing

if TYPE_CHECKING:
    from microtomo.tem.measurement import Column, Measured


@dataclass(frozen=True)
class Part:
    """What one image gave: cells of each table, summary, sentence, and the picture for the page where one is drawn."""

    name: str
    tables: Mapping[str, tuple[Column, ...]]
    summary: dict[str, Any]
    sentence: str
    picture: Path


class Parts:
    """The parts of a measurement in a folder, read back one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: list[str] = []

    def of(self, path: Path, work: Callable[[Path, Path], Measured]) -> Part:
        """The part of an image: that of an earlier run, else what ``work`` gives, which gets the image and the path
        that its picture for the page belongs at."""
        file = self.folder / f"{path.name}.json"
        if not file.is_file():
            measured = work(path, self._picture(path.name))
            self._write(file, measured)
        self._names.append(path.name)
        return self._read(path.name)

    def __iter__(self) -> Iterator[Part]:
        return map(self._read, self._names)

    def _picture(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    def _write(self, file: Path, measured: Measured) -> None:
        tables = {name: [(c.name, c.cells) for c in columns] for name, columns in measured.tables.items()}
        told = {"tables": tables, "summary": measured.summary, "sentence": measured.sentence}
        with whole_file(file) as temporary, writing(file):
            temporary.write_text(json.dumps(told), encoding="utf-8")

    def _read(self, name: str) -> Part:
        from microtomo.tem.measurement import Column

        told = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        tables = {table: tuple(Column(*column) for column in columns) for table, columns in told["tables"].items()}
        return Part(name, tables, told["summary"], told["sentence"], self._picture(name))


@contextmanager
def parts_of(output: Path, job: Mapping[str, Any], images: Sequence[Path]) -> Iterator[Parts]:
    """Parts beside ``output`` for as long as the work takes; where it is interrupted or fails they stay, and the same
    ``job`` (plain values) on the same images goes on from them. One image has nothing to go on from."""
    from microtomo.io.folders import claim_folder

    if len(images) == 1:
        with TemporaryDirectory() as temporary:
            yield Parts(Path(temporary))
        return
    stamps = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in images]
    description = {**job, "images": stamps}
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = output.with_name(f".{output.name}.{digest}.parts")
    with claim_folder(folder, "job.json", json.loads(json.dumps(description, default=str)), "measurement"):
        parts = Parts(folder)
        try:
            yield parts
        except MicrotomoError:
            if any(True for _ in parts):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise
    for left in output.parent.glob(f".{output.name}.*.parts"):  # also those of other settings that were given up
        shutil.rmtree(left, ignore_errors=True)
