import os
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
import torch

from microtomo import load_stack, simulate_scan, write_scan
from microtomo.cli.app import main


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "scan.h5"
    maps = torch.zeros(2, 8, 10)
    maps[1, 2:5, 3:6] = 50
    write_scan(path, simulate_scan(load_stack("au-al-si"), maps, seed=1))
    return path


def run(*words, code="", **environment):
    prelude = f"{code}\nimport sys\nfrom microtomo.cli.app import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", prelude, "view", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


def sentence(done, *told):
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for words in told:
        assert words in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_no_display_names_browser(scan_file):
    sentence(run(scan_file, DISPLAY="", WAYLAND_DISPLAY=""), "no display", "--browser")
    sentence(run(scan_file, DISPLAY=":941", WAYLAND_DISPLAY=""), "display :941", "--browser")


def test_missing_extra_is_a_pip_line(scan_file):
    hide = "import sys; sys.modules['trame'] = None"
    sentence(run(scan_file, "--browser", code=hide), 'pip install "microtomo[viewer]"')


def test_port_in_use_is_a_sentence(scan_file, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["view", str(scan_file), "--browser", "--port", str(port)]) == 1
    assert f"port {port} of 127.0.0.1 is in use: choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.h5"], "none.h5: no such file"),
        (["--sample", "1"], "no sample 1"),
        (["--host", "no.such.host.invalid"], "is not an address of this computer"),
        (["--host", "192.0.2.1"], "cannot be used"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(scan_file, capsys, words, told):
    file = [] if words == ["none.h5"] else [str(scan_file)]
    assert main(["view", *file, *words, "--browser", "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_on_loopback_until_interrupted(scan_file, number):
    command = [sys.executable, "-m", "microtomo.cli.app", "view", str(scan_file), "--browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert urlopen(address, timeout=20).status == 200
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)  # loopback too, but not the address asked for
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out == ""
    assert err.splitlines() == ["scan.h5 is served there; Ctrl-C ends it", "viewer ended"]


@pytest.mark.parametrize("suffix", [".vti", ".stl", ".ply"])
def test_render_writes_files_for_other_programs(scan_file, tmp_path, capsys, suffix):
    import pyvista as pv

    assert main(["render", str(scan_file), "-o", str(tmp_path / f"a{suffix}")]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name == ("a.vti" if suffix == ".vti" else f"a-Al{suffix}")
    assert pv.read(path).volume > 0
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "a.vti", "--figure", "scan"], "leave out --figure"),
        (["-o", "a.vti", "--what", "thickness"], "give --what auto or truth"),
        (["-o", "a.stl", "--what", "volume"], "give --what auto or truth"),
        (["-o", "a.stl", "--what", "thickness"], "a scan has no thickness"),
    ],
)
def test_what_render_cannot_write_is_a_sentence(scan_file, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["render", str(scan_file), *words]) == 1
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
