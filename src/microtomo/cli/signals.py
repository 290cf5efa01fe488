"""Signals that end a command: it leaves as after Ctrl-C, so that temporary files go, with the shell's exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What a batch system, ``kill`` or a closed terminal sends."""

_received: int = signal.SIGINT


class Terminated(KeyboardInterrupt):
    """One of :data:`ENDING` arrived."""


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Raise :class:`Terminated` inside where a signal arrives; one that is ignored (``nohup``) stays so."""
    global _received
    _received = signal.SIGINT

    def terminate(number: int, frame: FrameType | None) -> None:
        global _received
        _received = number
        raise Terminated

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending() -> tuple[str, int]:
    """A word for how the command was ended, and its exit code. Libraries turn one interrupt into another on the way."""
    return ("interrupted" if _received == signal.SIGINT else "terminated"), 128 + _received
