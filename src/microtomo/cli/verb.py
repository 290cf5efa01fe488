"""What holds for every verb: no output may be one of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

OUTPUTS = ("output", "out", "report", "picture", "histogram", "tracks")
"""Parameters that name files to write; all others that name files name inputs."""


class Verb(TyperCommand):
    """A verb that refuses to write over what it is given to read."""

    def invoke(self, ctx: Any) -> Any:
        """Check the outputs, then run the verb."""
        check_outputs(ctx.params)
        return super().invoke(ctx)


def check_outputs(parameters: Mapping[str, Any]) -> None:
    """Raise MicrotomoError where an output is there already and is an input, a file of an input folder or pattern, a
    link, a pipe or a device, and where two outputs are one file."""
    from microtomo.errors import MicrotomoError
    from microtomo.io.atomic import check_output

    given = [Path(parameters[name]) for name in OUTPUTS if parameters.get(name)]
    for output in (output for output in given if output.is_symlink() or (output.exists() and not output.is_dir())):
        check_output(output, _inputs(parameters))
    twice = {output for output in given if given.count(output) > 1}
    if twice:
        raise MicrotomoError(f"{twice.pop()}: is to be written twice: give each output a name of its own")


def _inputs(parameters: Mapping[str, Any]) -> Iterator[Path]:
    """Files that the inputs mean, of folders those that can be read from them."""
    for name, value in parameters.items():
        if name in OUTPUTS:
            continue
        for place in value if isinstance(value, list | tuple) else [value]:
            if isinstance(place, str | Path) and str(place):
                yield from _files(str(place))


def _files(place: str) -> Iterable[Path]:
    from glob import glob

    from microtomo.io.kinds import MICROGRAPH_SUFFIXES, files_in
    from microtomo.io.nexus import INDEX

    try:
        path = Path(place)
        if path.is_dir():
            inside = [path / INDEX, *path.glob("shard-*.h5"), *path.glob(f"*/{INDEX}"), *path.glob("*/shard-*.h5")]
            return [*inside, *files_in(path, MICROGRAPH_SUFFIXES)]
        return [path] if path.exists() else [Path(match) for match in glob(place)]
    except (OSError, ValueError):  # a text that is no path
        return []
