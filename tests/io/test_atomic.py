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
from microtomo.io.atomic import whole_file
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


# --- temporary files in a folder that others may write ---


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "precious").write_text("precious")
    for name in (f".out.h5.{os.getpid()}.partial", ".out.h5.0123456789abcdef.partial"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0123456789abcdef")  # even one that was guessed
    with pytest.raises(MicrotomoError, match="cannot be written"):
        write_scan(tmp_path / "out.h5", make_scan())
    monkeypatch.undo()
    write_scan(tmp_path / "out.h5", make_scan())
    assert (tmp_path / "precious").read_text() == "precious"


def test_two_writers_with_one_process_number_do_not_mix(tmp_path, monkeypatch):
    """As in two containers that share a folder."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with whole_file(tmp_path / "out") as one, whole_file(tmp_path / "out") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert left_in(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text() in ("one", "other")


def test_what_a_killed_command_left_the_next_one_clears(tmp_path):
    script = "import sys, os, signal\nfrom microtomo.io.atomic import whole_file\n" + (
        "with whole_file(sys.argv[1]) as path:\n    path.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "out"], check=False)
    assert killed.returncode == -9
    (leftover,) = left_in(tmp_path)
    assert leftover.endswith(".partial")
    with whole_file(tmp_path / "other") as path:
        path.write_text("of another name")
    assert leftover in left_in(tmp_path)
    with whole_file(tmp_path / "out") as path:
        path.write_text("whole")
    assert left_in(tmp_path) == ["other", "out"]


def test_a_file_is_as_readable_as_any_other(tmp_path):
    with whole_file(tmp_path / "out") as path:
        path.write_text("x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_as_long_as_a_file_system_takes_are_written(tmp_path):
    for name in ("x" * 250, "µ" * 120):
        with whole_file(tmp_path / name) as path:
            path.write_text("x")
        assert (tmp_path / name).read_text() == "x"
