"""Names and values that somebody chose to do harm, and code that lies beside the data."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from making import make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.cli.say import console, say
from microtomo.errors import MicrotomoError, printable
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan
from microtomo.io.tables import csv_line, write_csv

NAMES = [
    "$\\frac{1$",
    "[red]a[",
    "\x1b[31m\x07a",
    "a\nerror: b",
    os.fsdecode(b"\xff\xfe"),
    "=HYPERLINK(\"x\"),'y'",
    "<script>window.pwned=1<" + "\u2215script>",
    "\u202eh5.nacs",
    "{{data}}",
    "%s%n{}",
]


def text_of(path):
    return path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_harmless_in_terminal_plots_tables_and_pages(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    scan = make_scan()
    write_scan(f"{name}.h5", scan)
    write_reconstruction(f"{name}rec.h5", make_reconstruction(), scan.truth)
    for words in (
        ["render", f"{name}rec.h5", "-o", "maps.png", "--figure", "maps"],
        ["render", f"{name}rec.h5", "-o", "fit.svg", "--figure", "fit"],
        ["render", f"{name}rec.h5", "-o", "scene.html"],
        ["render", f"{name}.h5", "-o", f"{name}.png"],
        ["evaluate", f"{name}rec.h5", f"{name}.h5"],
        ["reconstruct", f"{name}.h5", "-o", f"{name}.npy"],
        ["evaluate", f"{name}.h5", f"{name}rec.h5"],
    ):
        main(words)
        told = "".join(capsys.readouterr())
        assert "unexpected" not in told, words
        assert "Traceback" not in told, words
        assert all(line.isprintable() for line in told.split("\n")), words
    page = text_of(tmp_path / "scene.html")
    assert "<script>window" not in page
    assert page.count("</script>") == 3
    assert "\x1b" not in text_of(tmp_path / "fit.svg")


def test_names_of_images_are_harmless_in_lists_and_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    image = np.random.default_rng(0).normal(1000, 50, (64, 64)).astype(np.uint16)
    for name in NAMES:
        tifffile.imwrite(f"images/{name}.tif", image)
    assert main(["sort", "images", "-o", "order.csv", "--method", "bragg"]) == 0
    told = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in told.split("\n"))
    rows = list(csv.reader(text_of(tmp_path / "order.csv").splitlines()))
    assert len(rows) == 1 + len(NAMES)
    assert {len(row) for row in rows} == {4}
    assert not [row for row in rows[1:] for cell in row if cell[:1] in "=+-@\t\r"]


def test_what_a_terminal_acts_on_is_spelled_out(capsys):
    assert printable("a\x1b[2Jb\u202ec\nd\udcffµ") == "a\\x1b[2Jb\\u202ec\\nd\\udcffµ"
    say("one\rtwo", "[bold]three")
    console().print("[link=file:///etc/passwd]a[/link]\x1b]0;b\x07")
    assert capsys.readouterr().out == "one\\rtwo\n[bold]three\n[link=file:///etc/passwd]a[/link]\\x1b]0;b\\x07\n"
    assert str(MicrotomoError("a\nb")) == "a\\nb"


def test_tables_hold_no_formula_and_keep_numbers(tmp_path):
    cells = ["=1+1", "@SUM(A1)", "+a", "-b", "-1.5e-3", "+3", "-inf", 'a,"b"', "\t=c"]
    assert csv_line(cells) == '\'=1+1,\'@SUM(A1),\'+a,\'-b,-1.5e-3,+3,-inf,"a,""b""",\'\\t=c'
    write_csv(tmp_path / "t.csv", ["name"], (row for row in [["a"], ["=b"]]))
    assert text_of(tmp_path / "t.csv") == "name\na\n'=b\n"


SPY = "import pathlib; pathlib.Path(r'{}').write_text('ran')\n"


INSTALLED = Path(sys.executable).with_name("microtomo")
EARLY = ("rich", "typer", "click")  # `python -m` has imported them before the first line of ours runs


@pytest.mark.parametrize("command", [[str(INSTALLED)], [sys.executable, "-m", "microtomo.cli.app"]])
@pytest.mark.parametrize(
    "words",
    [["doctor"], ["generate", "set", "--samples", "4", "--size", "16", "--workers", "2", "--forward", "published"]],
)
def test_code_beside_the_data_does_not_run(tmp_path, command, words):
    if not Path(command[0]).exists():
        pytest.skip("the command microtomo is not installed")
    here, witness = tmp_path / "data", tmp_path / "witness"
    here.mkdir()
    for module in ("vtkmodules", "multiprocessing", "numba", "torch", "h5py", "matplotlib", *EARLY):
        if command[0] == str(INSTALLED) or module not in EARLY:
            (here / f"{module}.py").write_text(SPY.format(witness))
    (here / ".numba_config.yaml").write_text(f"cache_dir: {here / 'cache'}\n")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "NUMBA_CACHE_DIR")}
    done = subprocess.run([*command, *words], cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not witness.exists()
    assert not (here / "cache").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["generate", "set", "--samples", "1", "--set", "stack=5"], "5 is no stack"),
        (["generate", "set", "--samples", "1", "--config", "deep.toml"], "deep.toml: is not valid TOML (it is nested"),
        (["signal", "deep.toml", "-o", "a.png"], "deep.toml: is not valid TOML (it is nested too deeply)"),
        (["signal", "odd.toml", "-o", "a.png"], "odd.toml: describes no stack"),
        (["reconstruct", "scan.h5", "-o", "a.h5", "--set", "rounds=abc"], "option rounds='abc' of method map: input"),
        (["reconstruct", "scan.h5", "-o", "a.h5", "--set", "jump=abc"], "option jump='abc' of method map"),
        (["reconstruct", "scan.h5", "-o", "a.h5", "--set", "jump=[[1]]"], "option jump=[[1]] of method map"),
        (["segment", "image.tif", "-o", "a.png", "--method", "bragg", "--set", "window_px=[1]"], "bragg"),
        (["expand", "odd.npz", "-o", "a.tif"], "odd.npz: is no .npz archive or cut off"),
    ],
)
def test_wrong_values_and_odd_files_are_named(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Path("deep.toml").write_text("a = " + "[" * 5000)
    Path("odd.toml").write_text('name = "a"\nsubstrate = "Si"\nlayers = []\nmaterials = ["Si"]\n')
    Path("odd.npz").write_bytes(b"PK\x03\x04" + bytes(200))
    tifffile.imwrite("image.tif", np.random.default_rng(0).normal(1000, 50, (64, 64)).astype(np.uint16))
    write_scan("scan.h5", make_scan())
    assert main(words) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "unexpected" not in said
    assert said.count("\n") == 1


def test_an_error_that_nobody_foresaw_names_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", make_scan())

    def broken(*_, **__):
        raise TypeError("unhashable")

    monkeypatch.setattr("microtomo.io.studies.load_study", broken)
    assert main(["render", "scan.h5", "-o", "a.png"]) == 1
    assert capsys.readouterr().err.startswith("error: scan.h5: unexpected TypeError: unhashable: run ")
