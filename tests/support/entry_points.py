"""The entry points of pyproject.toml, found as those of an installed package are, whatever is installed."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def entry_points():
    """Entry points by group, as pyproject.toml has them."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]


def as_installed(folder):
    """A folder for PYTHONPATH under which other programs find the entry points."""
    info = folder / "microtomo-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: microtomo\nVersion: 0.1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in entry_points().items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder
