"""Tasks, methods and measurements: registered in their own files, found by name, defaults by measured score."""

import json
import subprocess
import sys
from typing import Annotated

import pytest

from microtomo import registry
from microtomo.errors import MicrotomoError, nearest
from microtomo.metrics import label_scores
from microtomo.registry import (
    LabelClass,
    Metric,
    Published,
    Task,
    add_task,
    best_shipped,
    get_measurement,
    get_method,
    get_task,
    known_scores,
    list_measurements,
    list_methods,
    list_tasks,
    measurement,
    register,
)

HEAVY = ("microtomo.training", "microtomo.viz", "lightning", "matplotlib", "pyvista")


@pytest.fixture
def own(monkeypatch):
    """Lets a test register what is gone afterwards."""
    list_methods()
    for name in ("_TASKS", "_METHODS", "_MEASUREMENTS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


def guess(signal, problem, *, weight: float = 1.0):
    """Guess.

    More about it.
    """


def test_everything_is_registered_by_name_alone_and_without_training_or_pictures():
    # in a fresh interpreter: nothing else has imported the solvers
    code = (
        "import sys; from microtomo.registry import list_methods, list_tasks;"
        "print(*[m.name for m in list_methods()]); print(*[t.name for t in list_tasks()]);"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    methods, tasks, heavy = (line.split() for line in answer.stdout.split("\n")[:3])
    assert methods == sorted(methods)
    assert {"likelihood", "map", "tikhonov", "unet", "bragg", "graphene-unet"} <= set(methods)
    assert {"contaminant", "layers"} <= set(tasks)
    assert heavy == []


def test_every_method_and_measurement_has_a_task():
    for entry in (*list_methods(), *list_measurements()):
        assert get_task(entry.task) in list_tasks()


def test_published_figures_of_the_baseline():
    baseline = get_method("tikhonov")
    assert baseline.published_score("test set") == 0.617
    assert baseline.published_score("experimental structure") == 0.572
    assert baseline.published_score("another") is None
    assert get_method("map").published_score("test set") is None


def test_wildcards_tasks_and_inputs_narrow_the_list(own):
    for name, task in [("one", "layers"), ("onto", "contaminant"), ("two", "layers")]:
        register(name, task=task, citation="somebody")(guess)
    assert [m.name for m in list_methods("on*")] == ["one", "onto"]
    assert [m.name for m in list_methods("on*", task="layers")] == ["one"]
    assert [m.name for m in list_methods("on*", input="micrograph")] == ["onto"]
    assert [m.name for m in list_methods("t?o")] == ["two"]
    assert list_methods("none-such*") == []
    assert list_methods(task="none-such") == []
    assert "contaminant" not in [t.name for t in list_tasks("scan")]


def test_summary_and_options_come_from_docstring_and_signature(own):
    register("mine", task="layers", citation="somebody")(guess)
    method = get_method("mine")
    assert (method.summary, method.options, method.run) == ("Guess.", ["weight"], guess)


def test_what_is_registered_twice_or_without_a_docstring_is_refused(own):
    before = get_method("map")
    with pytest.raises(MicrotomoError, match="'map' is registered twice"):
        register("map", task="layers", citation="somebody")(guess)
    assert get_method("map") is before
    with pytest.raises(MicrotomoError, match="has no docstring"):
        register("mine", task="layers", citation="somebody")(lambda signal, problem: None)
    with pytest.raises(MicrotomoError, match="'layers' is registered twice"):
        add_task(get_task("layers"))
    with pytest.raises(MicrotomoError, match="'atoms' is registered twice"):
        measurement("atoms", task="contaminant")(guess)


def test_a_measurement_has_a_table_of_its_name_and_the_options_of_its_signature(own):
    @measurement("width", task="contaminant")
    def width(image, segmentation, pixel_nm, *, lines: Annotated[int, "How many."] = 5):
        """Width."""

    known = get_measurement("width")
    assert (known.tables, known.summary) == (("width",), "Width.")
    (option,) = known.settings
    assert (option.name, option.default, option.annotation) == ("lines", 5, Annotated[int, "How many."])
    assert known in list_measurements("contaminant")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(MicrotomoError, match=r"unknown method 'likelyhood'; did you mean likelihood"):
        get_method("likelyhood")
    with pytest.raises(MicrotomoError, match=r"known: .*likelihood.*map.*tikhonov"):
        get_method("xyzzy")
    with pytest.raises(MicrotomoError, match=r"unknown task 'layerz'; did you mean layer or layers"):
        get_task("layerz")
    with pytest.raises(MicrotomoError, match=r"cannot measure 'atom'; did you mean atoms"):
        get_measurement("atom")


def test_a_method_of_another_task_is_refused_in_one_sentence():
    with pytest.raises(
        MicrotomoError, match=r"^method 'map' is for task layers, not for contaminant: choose from bragg"
    ):
        get_method("map", task="contaminant")
    assert get_method("map", task="layers").name == "map"


def test_the_default_has_the_best_measured_score_of_what_is_ready(own, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "SCORES", tmp_path)
    add_task(
        Task("colour", "micrograph", "colours", Metric("miou", "mIoU", label_scores), "test", (LabelClass("red"),))
    )
    with pytest.raises(MicrotomoError, match="no method for task colour comes ready to use"):
        best_shipped("colour")

    def missing(contrast):
        raise MicrotomoError("no weights")

    for name, weights in (("fine", None), ("better", None), ("unmeasured", None), ("untrained", missing)):
        register(name, task="colour", citation="somebody", weights=weights)(guess)
    scores = {"fine": 0.7, "better": 0.8, "untrained": 0.99}
    entries = [{"trial": "test", "method": m, "scores": {"miou": s}} for m, s in scores.items()]
    entries.append({"trial": "another", "method": "fine", "scores": {"miou": 1.0}})
    (tmp_path / "scores-colour.json").write_text(json.dumps({"entries": entries}))
    assert known_scores("colour") == scores
    assert known_scores("colour", "another") == {"fine": 1.0}
    assert best_shipped("colour").name == "better"


def test_the_defaults_of_this_version():
    assert best_shipped("layers").name == "map"
    assert best_shipped("contaminant").name == "graphene-unet"


def test_published_figures_name_trials_that_exist_or_other_protocols():
    for method in list_methods():
        if method.published is not None:
            assert isinstance(method.published, Published)
            assert all(0 < score < 1 for score in method.published.scores.values())


def test_nearest_names_at_most_two():
    assert nearest("colour", ["color", "colours", "coloured", "price"]).count(" or ") == 1
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
