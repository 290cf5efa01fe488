import subprocess
import sys

import pytest

from microtomo import registry
from microtomo.errors import MicrotomoError, nearest
from microtomo.registry import get_method, list_methods, register


@pytest.fixture
def own_methods(monkeypatch):
    """Lets a test register methods that are gone afterwards."""
    list_methods()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_the_solvers_of_the_main_job_are_registered_by_name_alone():
    # in a fresh interpreter: nothing else has imported the solvers
    code = "from microtomo.registry import list_methods; print(*[m.name for m in list_methods(task='sem')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == sorted(answer.stdout.split())
    assert {"likelihood", "map", "tikhonov"} <= set(answer.stdout.split())


def test_every_method_says_what_it_is_and_whom_to_cite():
    for method in list_methods():
        assert method.summary.endswith(".") or len(method.summary) > 10
        assert len(method.citation) > 10
        assert method.task in {"sem", "tem"}
        assert get_method(method.name) is method


def test_published_score_of_the_baseline():
    assert get_method("tikhonov").published_miou == 0.617


def test_wildcards_and_tasks_narrow_the_list(own_methods):
    def guess(signal, problem):
        """Guess."""

    for name, task in [("one", "sem"), ("onto", "tem"), ("two", "sem")]:
        register(name, task=task, citation="somebody")(guess)
    assert [m.name for m in list_methods("on*")] == ["one", "onto"]
    assert [m.name for m in list_methods("on*", task="sem")] == ["one"]
    assert [m.name for m in list_methods("t?o")] == ["two"]
    assert list_methods("none-such*") == []
    assert list_methods(task="none-such") == []


def test_the_summary_is_the_first_line_of_the_docstring(own_methods):
    @register("told", task="sem", citation="somebody")
    def told(signal, problem):
        """Guess.

        More about it.
        """

    assert get_method("told").summary == "Guess."
    assert get_method("told").run is told


def test_a_name_registered_twice_is_refused(own_methods):
    before = get_method("map")
    with pytest.raises(MicrotomoError, match="'map' is registered twice"):
        register("map", task="sem", citation="somebody")(lambda signal, problem: None)
    assert get_method("map") is before


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(MicrotomoError, match=r"unknown method 'likelyhood'; did you mean likelihood"):
        get_method("likelyhood")
    with pytest.raises(MicrotomoError, match=r"known: .*likelihood.*map.*tikhonov"):
        get_method("xyzzy")


def test_nearest_names_at_most_two():
    assert nearest("colour", ["color", "colours", "coloured", "price"]).count(" or ") == 1
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
