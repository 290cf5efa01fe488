"""Every n-th write, rename and sync of a verb fails, as SQLite tests itself: a sentence, the old file, nothing else."""

import errno
import os

import numpy as np
import pytest
import tifffile

from making import make_scan
from microtomo.cli.app import main
from microtomo.io.scans import read_scan, write_scan
from microtomo.io.seal import is_intact

CALLS = ("pwrite", "replace", "fsync", "fdatasync", "ftruncate")
# calls of a verb that are made to fail: some over its whole length, and the last, the rename among them
SPREAD, LAST = 5, 5


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", make_scan(2))
    rng = np.random.default_rng(0)
    os.mkdir("raw")
    for kev in (5, 6, 7):
        tifffile.imwrite(f"raw/al_{kev:02}keV.tif", rng.integers(9000, 9900, (48, 48), np.uint16))
    tifffile.imwrite("image.tif", rng.integers(90, 200, (48, 48), np.uint8))
    return tmp_path


class Failing:
    """The n-th of some calls of the system fails, and only that one."""

    def __init__(self, monkeypatch, n):
        self.left, self.happened = n, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, call):
        def wrapped(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                self.happened = True
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*arguments, **options)

        return wrapped


def chosen(monkeypatch, line):
    """Numbers of the calls to fail."""
    with monkeypatch.context() as patch:
        counting = Failing(patch, 0)
        assert main(line.split()) == 0
    count = -counting.left
    assert count > 2
    return sorted({*range(1, count + 1, max(1, count // SPREAD)), *range(max(1, count - LAST + 1), count + 1)})


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


VERBS = {
    "reconstruct": ("reconstruct scan.h5 -o out.h5 --method likelihood --forward published --force", "out.h5"),
    "generate file": ("generate out.h5 --samples 2 --size 8 --forward published", "out.h5"),
    "sort": ("sort raw -o out.csv --force", "out.csv"),
    "compress": ("compress image.tif -o out.npz --force", "out.npz"),
    "segment": ("segment image.tif -o out_mask.png --force", "out_mask.png"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_of_the_system_that_fails_spoils_nothing(place, monkeypatch, capsys, verb):
    line, output = VERBS[verb]
    assert main(line.split()) == 0, capsys.readouterr().err
    good = files(place)
    old = (place / output).read_bytes()
    for n in chosen(monkeypatch, line):
        with monkeypatch.context() as patch:
            failing = Failing(patch, n)
            code = main(line.split())
        told = capsys.readouterr().err
        now = files(place)
        assert set(now) == set(good), (n, told)  # no half-written file is left
        assert "Traceback" not in told
        assert "unexpected" not in told, told
        assert failing.happened
        new = now[place / output]
        if output.endswith(".h5"):
            assert is_intact(place / output), n
        if code == 0:  # what failed was of no consequence
            continue
        assert "error: " in told
        assert f"{output[:4]}" in told, told
        # after the rename only the folder may be out of step: the file is the old or the new one, whole
        assert new == old or len(new) == len(old)


def test_a_data_set_is_finished_after_any_failure(place, monkeypatch, capsys):
    line = "generate set --train 2 --test 1 --size 8 --forward published --set shard_samples=1"
    assert main(line.split()) == 0
    good = {path.relative_to(place / "set"): data for path, data in files(place / "set").items()}
    for n in chosen(monkeypatch, line.replace("set ", "counted ", 1)):
        folder = place / f"set{n}"
        with monkeypatch.context() as patch:
            failing = Failing(patch, n)
            code = main(line.replace("set ", f"{folder.name} ", 1).split())
        assert not list(folder.rglob(".*"))
        assert failing.happened
        assert code == 1
        assert f"{folder.name}/" in capsys.readouterr().err
        assert main(line.replace("set ", f"{folder.name} ", 1).split()) == 0
        assert {path.relative_to(folder): data for path, data in files(folder).items()} == good
    assert read_scan(folder / "train").shape == (2, 31, 8, 8)
