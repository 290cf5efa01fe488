"""``microtomo doctor``: is everything there that the package needs?"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from microtomo.cli.say import say

_NEEDED = ("torch", "numpy", "scipy", "h5py", "numba", "pydantic", "typer", "rich", "matplotlib", "pyvista", "tifffile")
_SPOT_NM, _SPOT = 5.0, 1.40961  # gold on silicon: thickness, and signal over bare silicon at 5 keV by transport 0.1.0
_LEAST_FREE_BYTES = 1e9  # a data set of a few thousand samples


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, ``note`` (something optional lacks) or ``broken``, and what to do about it."""

    name: str
    state: str
    found: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Check Python, libraries, devices, OpenGL, disk and a spot value of the forward model."""
    checks = [_guarded(check) for check in (_python, _machine, _libraries, _devices, _kernels, _opengl, _disk, _model)]
    broken = [check for check in checks if check.state == "broken"]
    if as_json:
        say(json.dumps({"usable": not broken, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            say(f"{check.state:>6}  {check.name}: {check.found}")
        say("usable" if not broken else f"not usable: mend {', '.join(check.name for check in broken)}")
    if broken:
        raise typer.Exit(1)


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a doctor reports what breaks, whatever it is
        name = check.__name__.strip("_")
        return Check(name, "broken", f"{type(error).__name__}: {error}: install the package again (pip install -e .)")


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _machine() -> Check:
    return Check("machine", "ok", f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores")


def _libraries() -> Check:
    from importlib.metadata import PackageNotFoundError, version

    found, missing = [], []
    for name in _NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("libraries", "broken", f"{', '.join(missing)} not installed: pip install {' '.join(missing)}")
    return Check("libraries", "ok", ", ".join(found))


def _devices() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("devices", "ok", f"cpu, {torch.get_num_threads()} threads (no GPU: --device cuda is not possible)")
    names = ", ".join(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))
    return Check("devices", "ok", f"cpu, {names}")


def _kernels() -> Check:
    import microtomo

    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(chosen)] if chosen else [Path(microtomo.__file__).parent, Path.home() / ".cache"]
    for folder in folders:
        existing = next((f for f in (folder, *folder.parents) if f.exists()), Path("/"))
        if os.access(existing, os.W_OK):
            return Check("kernels", "ok", f"compiled kernels are kept under {folder}")
    told = " nor ".join(str(folder) for folder in folders)
    return Check("kernels", "broken", f"{told} can be written: set NUMBA_CACHE_DIR to a writable folder")


def _opengl() -> Check:
    from microtomo.viz.gl import offscreen_works

    problem = offscreen_works()
    return Check("opengl", "ok", "3D pictures can be drawn") if problem is None else Check("opengl", "note", problem)


def _disk() -> Check:
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check("disk", "note", f"{folder} is not writable: give outputs another folder")
    return Check("disk", "ok" if free > _LEAST_FREE_BYTES else "note", f"{free / 1e9:.1f} GB free in {folder}")


def _model() -> Check:
    from microtomo.physics.transport import backscatter_coefficient

    stacks = ([("Au", _SPOT_NM), ("Si", None)], [("Si", None)])
    film, bare = (float(backscatter_coefficient(stack, [5.0])[0]) for stack in stacks)
    value = film / bare
    if abs(value - _SPOT) > 1e-4:
        return Check("model", "broken", f"forward model gives {value:.5f} for 5 nm Au, not {_SPOT}: install again")
    return Check("model", "ok", f"forward model gives {value:.5f} for 5 nm Au at 5 keV, as it must")
