"""No verb writes over its inputs, through links, or in the place of a device; ended commands leave as shells expect."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from making import make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("raw")
    for kev in (5, 6, 7):
        tifffile.imwrite(f"raw/al_{kev:02}keV.tif", np.random.default_rng(kev).integers(90, 200, (32, 32), np.uint8))
    write_scan("scan.h5", make_scan())
    write_reconstruction("rec.h5", make_reconstruction())
    (tmp_path / "stack.toml").write_text('name = "s"\nsubstrate = "Si"\n[[layers]]\nmaterial = "Au"\nmax_nm = 9\n')
    (tmp_path / "known.csv").write_text("rows,columns,Au\n0:3,0:3,5\n")
    return tmp_path


OWN_INPUT = [
    "import raw -o raw/al_05keV.tif",
    "import raw/*.tif -o raw/al_06keV.tif",
    "import raw/al_05keV.tif raw/al_07keV.tif -o scan.h5 --report raw/al_07keV.tif",
    "import raw --stack stack.toml -o stack.toml",
    "reconstruct scan.h5 -o scan.h5",
    "reconstruct scan.h5 --stack stack.toml -o stack.toml",
    "reconstruct raw --energies 5,6,7 -o raw/al_05keV.tif",
    "render rec.h5 -o rec.h5",
    "render rec.h5 --scan scan.h5 -o scan.h5",
    "calibrate scan.h5 --known known.csv --stack stack.toml -o stack.toml",
    "calibrate scan.h5 --known known.csv -o new.toml --report new.toml",
    "segment raw/al_05keV.tif -o raw/al_05keV.tif",
    "sort raw -o raw/al_05keV.tif",
    "compress raw/al_05keV.tif -o raw/al_05keV.tif",
    "expand rec.h5 -o rec.h5",
    "measure particles raw -o raw/al_06keV.tif",
    "measure particles raw -o new.csv --report raw/al_06keV.tif",
    "signal stack.toml -o stack.toml",
    "generate scan.h5 --samples 1 --config scan.h5",
]


@pytest.mark.parametrize("line", OWN_INPUT)
def test_no_verb_writes_over_its_input(inputs, capsys, line):
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    assert main(line.split()) == 1
    told = capsys.readouterr().err
    assert "is the input itself" in told or "written twice" in told or "unknown kind" in told
    assert {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()} == before


WRITING = [
    "import raw -o {}",
    "reconstruct scan.h5 -o {}",
    "render rec.h5 -o {}",
    "calibrate scan.h5 --known known.csv -o {}",
    "segment raw/al_05keV.tif -o {}",
    "sort raw -o {}",
    "compress raw/al_05keV.tif -o {}",
    "expand rec.h5 -o {}",
    "measure particles raw -o {}",
    "signal stack.toml -o {}",
    "design -o {}",
    "generate {} --samples 1",
]


@pytest.mark.parametrize("line", WRITING)
@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link"])
def test_a_pipe_or_link_is_no_output(inputs, capsys, line, kind):
    name = inputs / ("out.h5" if "generate" in line else "out")
    if kind == "pipe":
        os.mkfifo(name)
    else:
        (inputs / "precious").write_text("precious")
        name.symlink_to(inputs / ("precious" if kind == "link" else "nowhere"))
    before = os.lstat(name).st_ino
    assert main(line.format(name).split()) == 1
    assert ("is a device or pipe" if kind == "pipe" else "is a link to") in capsys.readouterr().err
    assert os.lstat(name).st_ino == before
    assert kind == "pipe" or (inputs / "precious").read_text() == "precious"
    assert not (inputs / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_no_output(inputs, capsys):
    try:
        os.mknod(inputs / "null", 0o600 | 0o020000, os.makedev(1, 3))  # a copy of /dev/null
    except PermissionError:
        pytest.skip("no devices can be made here")
    assert main(["reconstruct", "scan.h5", "-o", str(inputs / "null")]) == 1
    assert "is a device or pipe" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_leaves_with_the_code_of_the_shell(tmp_path, number, code):
    command = [sys.executable, "-m", "microtomo.cli.app", "generate", str(tmp_path / "set"), "--samples", "50000"]
    job = subprocess.Popen(
        [*command, "--size", "16", "--forward", "published"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may ignore it (nohup)
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob("set/.shard*")) and time.monotonic() < end:
        time.sleep(0.02)
    job.send_signal(number)
    told = job.communicate(timeout=120)[1]
    assert job.returncode == code
    assert "terminated: finished shards stay in" in told
    assert not list(tmp_path.rglob(".*"))


def test_nohup_is_left_alone(tmp_path):
    command = [sys.executable, "-m", "microtomo.cli.app", "generate", str(tmp_path / "set"), "--samples", "60"]
    job = subprocess.Popen(
        ["nohup", *command, "--size", "32", "--forward", "published"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob("set/.shard*")) and time.monotonic() < end:
        time.sleep(0.02)
    job.send_signal(signal.SIGHUP)
    assert job.wait(timeout=120) == 0
