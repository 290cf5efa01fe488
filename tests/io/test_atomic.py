"""Output files appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import making
from making import E, X, Y, make_reconstruction, make_scan
from microtomo.errors import MicrotomoError
from microtomo.io.reconstructions import new_reconstruction
from microtomo.io.scans import read_scan, write_scan

# --- output ---


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_error_in_the_middle_leaves_nothing_and_spares_the_old_file(tmp_path):
    (tmp_path / "out.h5").write_text("the old one")

    def interrupted():
        with new_reconstruction(tmp_path / "out.h5", range(2)) as writer:
            writer.add(make_reconstruction(1))
            assert len(left_in(tmp_path)) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert left_in(tmp_path) == ["out.h5"]
    assert (tmp_path / "out.h5").read_text() == "the old one"


def test_a_reconstruction_that_lacks_samples_is_not_written(tmp_path):
    with (
        pytest.raises(MicrotomoError, match="1 of 2 samples were reconstructed"),
        new_reconstruction(tmp_path / "out.h5", range(2)) as writer,
    ):
        writer.add(make_reconstruction(1))
    assert left_in(tmp_path) == []


def test_an_output_that_cannot_be_written_is_told(tmp_path):
    scan = make_scan()
    with pytest.raises(MicrotomoError, match="is a folder"):
        write_scan(tmp_path, scan)
    with pytest.raises(MicrotomoError, match=r"missing is no folder: create it"):
        write_scan(tmp_path / "missing" / "scan.h5", scan)
    (tmp_path / "file").touch()
    with pytest.raises(MicrotomoError, match=r"cannot be written"):
        write_scan(tmp_path / "file" / "scan.h5", scan)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MicrotomoError, match="no permission in"):
        write_scan(tmp_path / "scan.h5", make_scan())
    tmp_path.chmod(0o700)


def test_a_folder_the_system_refuses_to_write_in_is_told():
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(MicrotomoError, match=r"/proc/self/scan.h5: cannot be written"):
        write_scan("/proc/self/scan.h5", make_scan())


def test_the_input_is_not_overwritten(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    (tmp_path / "alias.h5").symlink_to(tmp_path / "scan.h5")
    with (
        pytest.raises(MicrotomoError, match="is the input itself"),
        new_reconstruction(tmp_path / "alias.h5", None, [tmp_path / "scan.h5"]),
    ):
        pass
    assert read_scan(tmp_path / "scan.h5").shape == (E, Y, X)


def test_a_disk_too_small_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(MicrotomoError, match=r"the disk has 0 MB free: make room"):
        write_scan(tmp_path / "scan.h5", make_scan())
    assert left_in(tmp_path) == []


FILL = """
import resource, sys
sys.path.insert(0, sys.argv[4])
import making as t
from microtomo.io.reconstructions import write_reconstruction
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    if sys.argv[3] == "scan":
        t.write_scan(sys.argv[1], t.make_scan(40))
    else:
        write_reconstruction(sys.argv[1], t.make_reconstruction(40))
except t.MicrotomoError as error:
    print(error)
"""


@pytest.mark.parametrize(("limit", "what"), [(0, "scan"), (700, "scan"), (30_000, "scan"), (9000, "reconstruction")])
def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path, limit, what):
    # A limit on the size of files fails as a full disk does; HDF5 by itself ends in a segmentation fault here.
    command = [sys.executable, "-c", FILL, tmp_path / "out.h5", str(limit), what, Path(making.__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "out.h5: cannot be written, file too large: make room" in done.stdout
    assert left_in(tmp_path) == []
