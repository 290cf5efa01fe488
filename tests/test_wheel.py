"""A wheel has all that the package needs: installed into an empty folder, it runs without the repository."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*words, cwd, **environment):
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_a_wheel_installs_and_works_without_the_repository(tmp_path):
    built = run("-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", ROOT, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("microtomo-*.whl")
    assert wheel.stat().st_size < 40e6  # bytes, the weights in it
    site = tmp_path / "site"
    assert run("-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel, cwd=tmp_path).returncode == 0
    (tmp_path / "elsewhere").mkdir()
    for words in (
        ["generate", "scan.h5", "--samples", "1", "--size", "16", "--seed", "1"],
        ["reconstruct", "scan.h5", "--method", "unet", "-o", "rec.h5"],
    ):
        done = run("-m", "microtomo.cli.app", *words, cwd=tmp_path / "elsewhere", PYTHONPATH=str(site))
        assert done.returncode == 0, done.stderr
    where = run("-c", "import microtomo; print(microtomo.__file__)", cwd=tmp_path / "elsewhere", PYTHONPATH=str(site))
    assert where.stdout.startswith(str(site))
