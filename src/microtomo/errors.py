"""The one exception the package raises for bad input: a sentence that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MicrotomoError(ValueError):
    """Bad input or a failed job. The message names the thing, what is wrong with it and what to do."""


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean X?)`` with the closest known name, or the whole list when nothing is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file name before the message of a MicrotomoError."""
    try:
        yield
    except MicrotomoError as error:
        raise MicrotomoError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
