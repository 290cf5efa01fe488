"""What a scan costs: seconds and memory of each method, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.inverse.leaderboard import Trial, scans_of
from microtomo.io.atomic import machine, whole_file, writing
from microtomo.materials import load_stack
from microtomo.simulate.workers import Advance, unobserved

_START_S, _SCAN_S = 6.0, 2.0  # of a new process and its first scan, and of one more scan: about, on two cores


@dataclass(frozen=True)
class Cost:
    """Median seconds a scan, and the most memory [MB] that the process took beyond its libraries; None where the system
    does not tell."""

    seconds: float
    megabytes: float | None


@dataclass(frozen=True)
class CostJob:
    """The cost of one method on ``scans`` scans of a trial, one at a time, after a first one that does not count."""

    trial: Trial
    method: str
    size: int
    seed: int
    scans: int

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"{self.method}, time and memory"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        return _START_S + _SCAN_S * self.scans

    def _path(self, folder: Path) -> Path:
        return folder / "cache" / f"{sha256(json.dumps(self._described()).encode()).hexdigest()[:20]}.json"

    def _described(self) -> dict[str, Any]:
        return {"version": version("microtomo"), "machine": machine(), **asdict(self)}

    def done(self, folder: Path) -> bool:
        """Whether it was measured."""
        return self.read(folder) is not None

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Measure in a new process and write the result."""
        program = "import sys; from microtomo.reproduce.sem.cost import print_cost; print_cost(sys.argv[1])"
        given = json.dumps(asdict(self))
        done = subprocess.run([sys.executable, "-P", "-c", program, given], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise MicrotomoError(f"{self.label}: {last}: free memory and run the same command again")
        path = self._path(folder)
        with whole_file(path) as temporary, writing(path):
            temporary.write_text(json.dumps({"task": self._described(), "cost": json.loads(done.stdout)}))

    def read(self, folder: Path) -> Cost | None:
        """The result, None where there is none that is whole."""
        try:
            return Cost(**json.loads(self._path(folder).read_text())["cost"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def print_cost(given: str) -> None:
    """Measure and print the cost as JSON, in the new process; ``given`` is a :class:`CostJob` as JSON."""
    from microtomo.inverse.reconstruct import reconstruct
    from microtomo.registry import get_method

    job = json.loads(given)
    trial, method, size = Trial(**job["trial"]), get_method(job["method"]), job["size"]
    stack = load_stack("au-al-si")
    scan = scans_of(trial, job["scans"] + 1, job["seed"], stack, size=size)
    libraries = _memory("VmRSS")
    seconds = []
    for signal in scan.data:
        started = time.perf_counter()
        reconstruct(signal, method.name, forward=trial.forward, stack=stack)
        seconds.append(time.perf_counter() - started)
    most = _memory("VmHWM")
    taken = None if libraries is None or most is None else most - libraries
    print(json.dumps({"seconds": median(seconds[1:]), "megabytes": taken}))


def _memory(kind: str) -> float | None:
    """Memory of this process [MB] as Linux tells it: VmRSS now, VmHWM at most so far."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{kind}:")), None)
