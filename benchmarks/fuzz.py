"""Damaged and hostile files for every reader: each must be read or refused in one sentence that names it.

python benchmarks/fuzz.py [--minutes 60 | --inputs 10000] [--family hdf5] [--seed 0] [--keep DIR]

A failure is a traceback, an error that is no sentence, a hang above 30 s, a crash, or more than 2 GB of memory. Failing
inputs are made as small a change of a good file as still fails, and kept in DIR. Leaves with 1 where there was one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_files import read, seeds

HANG_S, MOST_BYTES = 30.0, 2 * 2**30
ATTEMPTS = 60  # to make a failing input smaller


def work() -> None:
    """Read the files named on stdin, a line each, and answer with what went wrong, or null."""
    import warnings

    from microtomo.errors import MicrotomoError
    from microtomo.io import guard

    warnings.simplefilter("ignore")
    guard.LIMIT_S = 5
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        family, name = json.loads(line)
        answer = None
        for reader, call in read(family, Path(name)):
            try:
                call()
            except MicrotomoError as error:
                if "\n" in str(error):
                    answer = f"{reader}: a sentence of several lines: {str(error)!r}"
                elif Path(name).parent.name not in str(error):
                    answer = f"{reader}: a sentence that does not name the file: {error}"
            except BaseException as error:
                answer = f"{reader}: {type(error).__name__}: {error}"[:400]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak > MOST_BYTES:
            print(json.dumps(f"{peak / 1e9:.1f} GB of memory"), flush=True)
            os._exit(0)
        print(json.dumps(answer), flush=True)


class Worker:
    """A process that reads files, replaced when it dies."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None

    def fails(self, family: str, path: Path) -> str | None:
        """What went wrong with a file, None where all is as it should be."""
        if self.child is None:
            command = [sys.executable, __file__, "--work"]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.child = subprocess.Popen(command, **pipes, bufsize=0)
            self._ask("text", Path("warm.toml"), 300.0)  # imports take a while
        return self._ask(family, path, HANG_S)

    def _ask(self, family: str, path: Path, limit_s: float) -> str | None:
        child = self.child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps([family, str(path)]).encode() + b"\n")
        ready, _, _ = select.select([child.stdout], [], [], limit_s)
        line = child.stdout.readline() if ready else b""
        if line:
            answer: str | None = json.loads(line)
            if answer is not None and answer.endswith("of memory"):
                self._end()
            return answer
        code = child.poll() if ready else None
        self._end()
        return f"crashed ({code})" if ready else f"hung for {limit_s:.0f} s"

    def _end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None


# --- damage ---

NUMBERS, ORDERS = (2**31 - 1, 2**32 - 1, 2**63 - 1, 775_000_000, 10**6), (False, True)

Change = tuple[int, int, bytes]  # start, bytes replaced, what stands there instead


def damage(data: bytes, others: list[bytes], text: bool, draw: random.Random) -> list[Change]:
    """A few random changes of a file, which do not overlap."""
    changes: list[Change] = []
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        start = draw.randrange(max(1, len(data)))
        length = min(draw.choice((1, 1, 2, 4, 8, 64, 512)), len(data) - start)
        kind = draw.randrange(8)
        if kind == 0:
            new = bytes(length)
        elif kind == 1:
            new = b"\xff" * length
        elif kind == 2:
            new = draw.randbytes(length)
        elif kind == 3:
            new = bytes(byte ^ (1 << draw.randrange(8)) for byte in data[start : start + length])
        elif kind == 4:
            number, order = draw.choice(NUMBERS), draw.choice(ORDERS)
            length = min(8, len(data) - start)
            new = (number.to_bytes(8, "little") if order else number.to_bytes(8, "big"))[:length]
        elif kind == 5:
            other = draw.choice(others)
            place = draw.randrange(max(1, len(other)))
            new = other[place : place + length]
        elif kind == 6:
            length, new = (len(data) - start, b"") if draw.random() < 0.3 else (length, b"")
        else:
            new = data[start : start + length] * draw.choice((2, 3, 100))
        if text and kind < 5:
            words = (b"nan", b"-1", b"1e999", b"[" * 3000, b"\x1b[31m", "\u202e".encode(), b"{}", b"'''", b"9" * 400)
            new = draw.choice(words)
        if not any(start < s + n and s < start + length for s, n, _ in changes):
            changes.append((start, length, new))
    return changes


def applied(data: bytes, changes: list[Change]) -> bytes:
    """The file with its changes."""
    for start, length, new in sorted(changes, reverse=True):
        data = data[:start] + new + data[start + length :]
    return data


def minimised(changes: list[Change], fails: Callable[[list[Change]], bool]) -> list[Change]:
    """Fewer and shorter changes that still fail."""
    tried, shrinking = 0, True
    while shrinking and tried < ATTEMPTS:
        shrinking = False
        shorter = [changes[:i] + changes[i + 1 :] for i in range(len(changes)) if len(changes) > 1]
        for i, (start, length, new) in enumerate(changes):
            if length == len(new) > 1:
                half = length // 2
                parts = ((start, half, new[:half]), (start + half, length - half, new[half:]))
                shorter += [[*changes[:i], part, *changes[i + 1 :]] for part in parts]
        for candidate in shorter:
            tried += 1
            if fails(candidate):
                changes, shrinking = candidate, True
                break
    return changes


# --- the run ---


def run(options: argparse.Namespace, folder: Path) -> int:
    """Fuzz until time or inputs are used up; returns the number of failures."""
    families = seeds(folder)
    if options.family:
        families = {options.family: families[options.family]}
    draw, worker, counts = random.Random(options.seed), Worker(), Counter[str]()
    contents = {path: path.read_bytes() for paths in families.values() for path in paths}
    seen: dict[str, str] = {}
    until = time.monotonic() + 60 * options.minutes
    for family, paths in families.items():
        for path in paths:
            counts[family] += 1
            reason = worker.fails(family, path)
            if reason is not None:
                seen[reason[:60]] = reason
                print(f"FAILED on the good {path.name}: {reason}", flush=True)
    while sum(counts.values()) < options.inputs and time.monotonic() < until:
        family = draw.choice(list(families))
        path = draw.choice(families[family])
        whole = contents[path]
        changes = damage(whole, [contents[other] for other in families[family]], family == "text", draw)

        def fails(changes: list[Change], path: Path = path, whole: bytes = whole, family: str = family) -> str | None:
            path.write_bytes(applied(whole, changes))
            return worker.fails(family, path)

        counts[family] += 1
        reason = fails(changes)
        if reason is not None and reason[:60] not in seen:
            seen[reason[:60]] = reason
            small = minimised(changes, lambda given: fails(given) is not None)
            kept = options.keep / f"{len(seen):03d}-{family}-{path.name}"
            options.keep.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(applied(whole, small))
            told = [(start, length, new[:16]) for start, length, new in small]
            print(f"FAILED {path.name}: {reason}\n  kept as {kept}, changes {told}", flush=True)
        path.write_bytes(whole)
    print(f"{sum(counts.values())} inputs ({', '.join(f'{n} {f}' for f, n in counts.items())}): {len(seen)} failures")
    return len(seen)


def main() -> int:
    if sys.argv[1:] == ["--work"]:
        work()
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--family", choices=("hdf5", "numpy", "tiff", "picture", "vendor", "text", "packed"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    with tempfile.TemporaryDirectory(prefix="microtomo-fuzz-") as folder:
        return 1 if run(parser.parse_args(), Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
