"""The one exception the package raises for bad input: a sentence that says what is wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, among them line ends and the escapes of terminals
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends and signs that turn the direction of writing
    "\ud800-\udfff]"  # halves of characters, which stand for bytes of names that are no text
)
_MOST_LETTERS = 300  # of what a library says about a file


def printable(text: str) -> str:
    r"""The text with everything spelled out (``\x1b``) that a terminal, a plot or a page would act on and not show."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class MicrotomoError(ValueError):
    """Bad input or a failed job. The message names the thing, what is wrong with it and what to do, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def cause(error: BaseException) -> str:
    """What went wrong, in a few words: the first line of what a library says, else the name of its error."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it says to hold more than fits into memory"
    return (str(error).splitlines() or [""])[0][:_MOST_LETTERS] or type(error).__name__


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean X?)`` with the closest known name, or the whole list when nothing is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


def few(names: list[str], most: int = 3) -> str:
    """Names in a sentence: the first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file name before the message of a MicrotomoError."""
    try:
        yield
    except MicrotomoError as error:
        name = printable(str(path))
        raise MicrotomoError(str(error) if str(error).startswith(name) else f"{path}: {error}") from None


@contextmanager
def boundary(path: Path, what: str = "is damaged or no such file") -> Iterator[None]:
    """Turn whatever a library raises about a file into one MicrotomoError that names the file and the cause.

    A file of anybody's making can make a reader fail in every way: nothing else catches more than it knows.
    """
    try:
        yield
    except MicrotomoError:
        raise
    except OSError as error:
        if error.errno:
            raise MicrotomoError(f"{path}: cannot be read ({error.strerror}): check the path") from error
        raise MicrotomoError(f"{path}: {what} ({cause(error)}): copy it anew, or write it again") from error
    except Exception as error:
        raise MicrotomoError(f"{path}: {what} ({cause(error)}): copy it anew, or write it again") from error
