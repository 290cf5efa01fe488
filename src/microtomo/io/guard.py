"""The gate that every HDF5 file passes before it is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.inputs import check_input
from microtomo.io import probe

LIMIT_S = 10
"""A file that takes longer is given up: one of 100,000 objects takes 5 s."""

_Stamp = tuple[str, int, int, int, int, bool]


class _Gate:
    """Asks a process of its own about files, one at a time; it starts with the first, and anew after a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._known: dict[_Stamp, str | None] = {}

    def ask(self, path: Path, follows: bool) -> str | None:
        """Why a file must not be opened, None where it may be."""
        name, stat = os.path.abspath(path), path.stat()
        stamp = (name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, follows)
        with self._lock:
            if stamp not in self._known:
                self._known[stamp] = self._answer(json.dumps([os.getcwd(), name, follows]))
            return self._known[stamp]

    def _answer(self, question: str) -> str | None:
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(question + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:  # interrupted: the answer that is on its way belongs to nobody
            self._end(child)
            raise
        if line.endswith("\n"):
            answer: str | None = json.loads(line)
            return answer
        self._end(child)
        return "is damaged: HDF5 hangs or crashes where it is opened: copy or write it again"

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            command = [sys.executable, "-P", str(probe.__file__), str(LIMIT_S)]
            self._child = subprocess.Popen(command, text=True, encoding="ascii", **pipes)  # type: ignore[call-overload]
        return self._child

    def _end(self, child: subprocess.Popen[str]) -> None:
        child.kill()
        child.wait()
        self._child = None


_gate = _Gate()
# A process that was forked must not speak with its parent's child.
os.register_at_fork(after_in_child=lambda: globals().update(_gate=_Gate()))


def check_hdf5(path: str | Path, *, follows: bool = False) -> Path:
    """The path of an HDF5 file that can be opened without harm; asked once for each state of a file.

    ``follows`` is for readers that let HDF5 open what is behind virtual data sets. Raises MicrotomoError, with the
    name, for what is no regular file, for files that hang or crash HDF5, and for those that take values or objects
    from outside their folder.
    """
    path = check_input(path)
    try:
        reason = _gate.ask(path, follows)
    except OSError as error:
        raise MicrotomoError(f"{path}: cannot be looked through ({error.strerror}): close other programs") from error
    if reason is not None:
        raise MicrotomoError(f"{path}: {reason}")
    return path
