"""The benchmark of robustness on tiny scans: whole, resumed, and in a folder that is not its own."""

import json

import pytest

from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.reproduce.robustness.run import run_benchmark
from microtomo.reproduce.robustness.trials import Settings, trials, verdict_is_right
from microtomo.scan import Verdict

TINY = Settings(
    methods=("likelihood",), forwards=("material",), kinds=("experimental",), noises=(0.02, 0.05), samples=1, size=64,
    faults=("none", "level +2 %", "1 % dead pixels"),
)  # fmt: skip


def test_the_page_has_every_trial_and_is_not_computed_twice(tmp_path):
    done = run_benchmark(tmp_path / "out", TINY)
    assert done.computed == len(list(trials(TINY))) == 4
    assert (done.caught, done.faulty, done.false_alarms, done.right) == (2, 2, 0, 2)
    text = (tmp_path / "out" / "robustness.md").read_text()
    assert "ROBUSTNESS of seed 20301122" in text
    assert "| level +2 % | 1 | 1 | 0 | 1 | 1 |" in text
    assert done.page.read_text().count("<table>") == 3
    assert (tmp_path / "out" / "figures" / "faults.png").stat().st_size > 1000
    assert (tmp_path / "out" / "tables" / "coverage.csv").read_text().count("\n") == 3
    assert run_benchmark(tmp_path / "out", TINY).computed == 0
    with pytest.raises(MicrotomoError, match="other settings"):
        run_benchmark(tmp_path / "out", TINY.model_copy(update={"samples": 2}))


def test_the_command_line_runs_it(tmp_path, capsys):
    chosen = ["size=64", 'faults=["none"]', 'forwards=["material"]', 'kinds=["experimental"]']
    settings = [word for setting in chosen for word in ("--set", setting)]
    folder = str(tmp_path / "out")
    assert main(["reproduce", "robustness", "--quick", "-o", folder, "--workers", "1", *settings, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["computed"] == told["right"] == 1
    assert told["false_alarms"] == 0


def test_a_verdict_is_right_where_it_should_be():
    trusted = Verdict(True, "none", "", "", 0.0, 0.1)
    doubted = Verdict(False, "gain", "", "", 0.2, 0.1)
    mended = Verdict(True, "none", "", "", 0.0, 0.1, correction="divided by gains")
    assert [verdict_is_right(v, "none") for v in (trusted, doubted, mended)] == [True, False, False]
    assert [verdict_is_right(v, "gain 1 %") for v in (trusted, doubted, mended)] == [False, True, True]


def test_unknown_faults_are_refused():
    with pytest.raises(MicrotomoError, match="unknown faults rust"):
        TINY.model_copy(update={"faults": ("none", "rust")}).check()
