"""Jobs in this process and in workers: same results, how far they are, errors, workers that die."""

import os
from dataclasses import dataclass

import pytest

from microtomo.errors import MicrotomoError
from microtomo.simulate.workers import run_here, run_in_workers, unobserved


@dataclass(frozen=True)
class Write:
    """Writes its name in three steps."""

    label: str
    weight: float

    def done(self, folder):
        return (folder / self.label).is_file()

    def run(self, folder, advance=unobserved):
        for step in range(3):
            advance(step / 3)
        (folder / self.label).write_text(self.label)


class Fail(Write):
    def run(self, folder, advance=unobserved):
        raise MicrotomoError(f"{self.label} is impossible")


class Die(Write):
    """Kills its process, unless its result is there."""

    def run(self, folder, advance=unobserved):
        os._exit(9)


class DieOnce(Write):
    def run(self, folder, advance=unobserved):
        before = folder / f"{self.label}.before"
        if not before.exists():
            before.write_text("")
            os._exit(9)
        super().run(folder, advance)


JOBS = [Write("a", 1.0), Write("b", 2.0), Write("c", 3.0)]


def test_a_job_tells_how_far_it_is(tmp_path):
    seen = []
    run_here(JOBS[1:], tmp_path, lambda done, label: seen.append(done))
    assert seen == pytest.approx([0, 2 / 3, 4 / 3, 2, 2, 3, 4, 5])


def test_workers_run_all_jobs_and_one_that_is_killed_is_replaced(tmp_path):
    seen = []
    run_in_workers([*JOBS, DieOnce("d", 1.0)], tmp_path, 2, lambda done, label: seen.append((done, label)))
    assert {p.name: p.read_text() for p in tmp_path.glob("?")} == {name: name for name in "abcd"}
    assert (tmp_path / "d.before").exists()
    assert seen[-1] == (pytest.approx(7.0), "d")


def test_workers_that_always_die_are_given_up(tmp_path):
    with pytest.raises(MicrotomoError, match="workers stopped 3 times without finishing a job: take fewer --workers"):
        run_in_workers([Die("d", 1.0)], tmp_path, 1, lambda done, label: None)


def test_an_error_in_a_worker_arrives_as_it_is(tmp_path):
    with pytest.raises(MicrotomoError, match=r"^e is impossible$"):
        run_in_workers([Fail("e", 1.0), *JOBS], tmp_path, 2, lambda done, label: None)
