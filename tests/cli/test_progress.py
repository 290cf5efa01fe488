"""Progress of long work: a line now and then where stderr is no terminal, a bar where it is one."""

import os
import pty
import re
import time

import pytest
import typer

from microtomo.cli.app import main
from microtomo.cli.progress import progress, resumable, time_of


def test_lines_tell_amount_rate_and_time_left(capsys):
    with progress(40, "samples", every_s=0.0) as show:
        show(10)  # there from before: no rate from it
        time.sleep(0.1)
        show(20, "train shard 3")
    out, err = capsys.readouterr()
    assert out == ""
    amount, rate, left = re.fullmatch(r"(.*), (\S+) samples/s, (\S+) s left; train shard 3\n", err).groups()
    assert amount == "20 of 40 samples"
    assert 50 < float(rate) < 100  # ten in a tenth of a second or a little more
    assert float(left) == pytest.approx(20 / float(rate), abs=0.06)


def test_percent_where_there_is_no_unit_and_the_total_comes_late(capsys):
    with progress(every_s=0.0) as show:
        show(0, "", 200.0)
        time.sleep(0.01)
        show(50, "page", 200.0)
    assert re.fullmatch(r"25%, \S+ s left; page\n", capsys.readouterr().err)


def test_lines_come_no_more_often_than_asked(capsys):
    with progress(10, "images", every_s=60.0) as show:
        for done in range(10):
            show(done)
    assert capsys.readouterr().err == ""


def pieces(terminal):
    """What was written to a terminal that is closed by now."""
    while True:
        try:
            yield os.read(terminal, 4096).decode(errors="ignore")
        except OSError:  # the end
            os.close(terminal)
            return


def test_a_terminal_gets_a_bar_with_the_same_words(monkeypatch):
    main, side = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    with os.fdopen(side, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with progress(40, "samples") as show:
            show(10)
            time.sleep(0.05)
            show(20, "shard 3")
    written = "".join(pieces(main))
    assert re.search(r"20 of 40 samples, \S+ samples/s, \S+ s left", written)
    assert "shard 3" in written


def test_an_interruption_says_what_is_kept(capsys):
    with pytest.raises(typer.Exit) as left, resumable("shards stay in set"):
        raise KeyboardInterrupt
    assert left.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted: shards stay in set, the same command goes on from there\n"


@pytest.mark.parametrize(("seconds", "text"), [(2.04, "2.0 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_time_in_its_unit(seconds, text):
    assert time_of(seconds) == text


@pytest.mark.filterwarnings("default")
def test_a_table_is_made_with_a_bar_and_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("microtomo.cli.progress._LINE_EVERY_S", 0.0)
    (tmp_path / "s.toml").write_text(
        'name = "film"\nsubstrate = "Si"\nenergies_kev = [7, 21]\n'
        '[[layers]]\nmaterial = "Cu"\nmax_nm = 3.5\n[[layers]]\nmaterial = "C"\nmax_nm = 2\n'
    )
    call = ["generate", str(tmp_path / "a.h5"), "--samples", "1", "--size", "8", "--stack", str(tmp_path / "s.toml")]
    assert main([*call, "--forward", "transport"]) == 0
    said = capsys.readouterr().err
    assert "warning: the table of this stack cannot be kept in" in said
    assert "Traceback" not in said
    assert "UserWarning" not in said
    assert ".py" not in said
