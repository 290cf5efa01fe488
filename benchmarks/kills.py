"""Verbs that are killed again and again end with the bytes of a run that nobody killed.

python benchmarks/kills.py [--kills 100] [--verb generate] [--verb reconstruct] [--verb train] [--seed 0]

Each command is killed with SIGKILL at a random moment of its run and started again until it ends by itself; then a new
round begins, until so many kills are done. Leaves with 1 where a file differs or a temporary one is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VERBS = {
    "generate": "generate {} --train 200 --test 60 --size 48 --forward published --workers 2 --set shard_samples=20",
    "reconstruct": "reconstruct scans.h5 -o {}/out.h5 --method likelihood --forward published --batch 8",
    "train": (
        "train conv3 -o {} --forward published --epochs 4 --accelerator cpu --set data.height=16 --set data.width=16 "
        "--set data.epoch=8 --set data.validation=2 --set network.width=4 --set precision=32-true"
    ),
}
RESULTS = {"generate": "*.h5", "reconstruct": "*.h5", "train": "weights.safetensors"}


def contents(verb: str, folder: Path) -> dict[str, object]:
    """What a verb wrote, by the names of the files; without times."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob(RESULTS[verb]))}
    if verb == "generate":
        return {name: path.read_bytes() for name, path in files.items()}
    if verb == "reconstruct":
        import h5py

        with h5py.File(files["out.h5"]) as file:
            return {name: file[f"entry/{name}/data"][()].tobytes() for name in ("thickness", "uncertainty", "volume")}
    from safetensors.numpy import load_file

    return {name: value.tobytes() for name, value in load_file(files["weights.safetensors"]).items()}


def start(verb: str, folder: Path) -> subprocess.Popen[bytes]:
    """The verb as a user starts it, with a session of its own so that its workers die with it."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "microtomo.cli.app", *VERBS[verb].format(folder.name).split()]
    return subprocess.Popen(command, cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(verb: str, folder: Path, seconds: float, most: int, draw: random.Random) -> int:
    """Run a verb to its end, killed up to ``most`` times on the way; returns how often."""
    kills = 0
    while True:
        job = start(verb, folder)
        try:
            _, told = job.communicate(timeout=draw.uniform(0, seconds) if kills < most else None)
        except subprocess.TimeoutExpired:
            job.kill()
            job.communicate()
            kills += 1
            continue
        if job.returncode:
            raise SystemExit(f"{verb} failed after {kills} kills: {told.decode(errors='replace')}")
        return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each verb")
    parser.add_argument("--verb", action="append", choices=tuple(VERBS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="microtomo-kills-") as name:
        place = Path(name)
        scans = ["generate", "scans.h5", "--samples", "48", "--size", "48", "--forward", "published"]
        subprocess.run([sys.executable, "-m", "microtomo.cli.app", *scans], cwd=place, check=True, capture_output=True)
        for verb in options.verb or VERBS:
            started = time.perf_counter()
            start(verb, place / f"{verb}-good").wait()
            seconds, good = time.perf_counter() - started, contents(verb, place / f"{verb}-good")
            kills = rounds = 0
            while kills < options.kills:
                folder = place / f"{verb}-{rounds}"
                kills += killed(verb, folder, seconds, min(10, options.kills - kills), draw)
                rounds += 1
                left = [str(path) for path in folder.rglob(".*")]
                if contents(verb, folder) != good or left:
                    wrong += 1
                    print(f"{verb}: round {rounds} differs; left over: {left}", flush=True)
            print(json.dumps({"verb": verb, "kills": kills, "rounds": rounds, "wrong": wrong, "cores": os.cpu_count()}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
