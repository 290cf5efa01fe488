"""The command line as a whole: exit codes, sentences instead of tracebacks, interrupts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from making import make_scan
from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.io.scans import write_scan


def test_help_names_the_verbs_and_exits_0(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for verb in ("demo", "generate", "import", "reconstruct", "evaluate", "render", "models", "doctor"):
        assert verb in told
        assert main([verb, "--help"]) == 0


def test_help_imports_nothing_heavy():
    probe = (
        "import sys; from microtomo.cli.app import main; main(['--help']); main(['reconstruct', '--help'])\n"
        "heavy = {'torch', 'numpy', 'h5py', 'numba', 'scipy', 'matplotlib', 'pyvista'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "microtomo 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["reconstuct", "a.h5"], "Did you mean 'reconstruct'?"),
        (["reconstruct", "a.h5", "-o", "b.h5", "--nose", "0.1"], "--noise"),
        (["reconstruct", "a.h5"], "--output"),
        (["reconstruct", "a.h5", "-o", "b.h5", "--noise", "much"], "Invalid value for '--noise'"),
        (["evaluate"], "TRUTH"),
    ],
)
def test_wrong_usage_exits_2(capsys, arguments, match):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert match in told.err
    assert told.out == ""


def raising(monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("microtomo.registry.list_methods", broken)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (MicrotomoError("scan.h5: is no scan: give another"), 1, "error: scan.h5: is no scan: give another\n"),
        (FileNotFoundError(2, "No such file or directory", "x.toml"), 1, "error: x.toml: No such file or directory: "),
        (RuntimeError("CUDA error: no kernel\nmore"), 1, "error: unexpected RuntimeError: CUDA error: no kernel: run "),
        (MemoryError(), 1, "error: out of memory: "),
        (KeyboardInterrupt(), 130, "interrupted: "),
    ],
)
def test_an_error_is_one_sentence_without_traceback(capsys, monkeypatch, error, code, told):
    raising(monkeypatch, error)
    assert main(["models"]) == code
    out, err = capsys.readouterr()
    assert err.startswith(told)
    assert err.count("\n") == 1
    assert out == ""


def test_debug_shows_the_traceback_too(capsys, monkeypatch):
    raising(monkeypatch, MicrotomoError("broken"))
    assert main(["--debug", "models"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: broken\n")


def test_the_handler_for_sigterm_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    main(["--version"])
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_leaves_early_is_no_crash(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "microtomo.cli.app", "doctor"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == "error: the program that reads the output has stopped: output is incomplete\n"


SLOW = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)
module = types.ModuleType("microtomo.inverse.reconstruct")
module.reconstruct = lambda *_, **__: time.sleep(60)
sys.modules["microtomo.inverse.reconstruct"] = module
import microtomo.registry
microtomo.registry.get_method = lambda name: name
from microtomo.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_in_the_middle_of_reconstruct_leaves_no_file(tmp_path, number, code, word):
    write_scan(tmp_path / "scan.h5", make_scan(2))
    command = [sys.executable, "-c", SLOW, "reconstruct", "scan.h5", "-o", "out.h5"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.h5.*.partial")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told == f"{word}: unfinished output was removed\n"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["scan.h5"]


def test_help_names_the_forward_models(capsys):
    from microtomo.physics.forward import forward_names

    assert main(["reconstruct", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"Forward model: {', '.join(forward_names())}; see docs/physics.md" in told
