"""``microtomo doctor`` and ``microtomo models``."""

import json
from importlib.metadata import PackageNotFoundError

import pytest

from microtomo.cli import doctor
from microtomo.cli.app import main
from microtomo.registry import Method, Published, list_methods


@pytest.fixture
def gl(monkeypatch):
    def answer(problem):
        monkeypatch.setattr("microtomo.viz.gl.offscreen_works", lambda: problem)

    answer(None)
    return answer


def diagnosis(capsys):
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    return code, told["usable"], {check["name"]: check for check in told["checks"]}


def test_a_sound_installation_is_usable(capsys, gl):
    code, usable, checks = diagnosis(capsys)
    assert (code, usable) == (0, True)
    assert {"python", "machine", "libraries", "devices", "kernels", "opengl", "disk", "model"} == set(checks)
    assert "torch" in checks["libraries"]["found"]
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("usable\n")


def test_without_opengl_the_rest_is_usable_and_the_remedy_is_told(capsys, gl):
    gl("libEGL was not found. run `apt-get install libegl1 libgl1-mesa-dri`")
    code, usable, checks = diagnosis(capsys)
    assert (code, usable) == (0, True)
    assert checks["opengl"]["state"] == "note"
    assert "apt-get install" in checks["opengl"]["found"]


def test_a_missing_library_is_told(capsys, gl, monkeypatch):
    from importlib.metadata import version

    def without_scipy(name):
        if name == "scipy":
            raise PackageNotFoundError
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", without_scipy)
    code, usable, checks = diagnosis(capsys)
    assert (code, usable) == (1, False)
    assert "pip install scipy" in checks["libraries"]["found"]


def test_a_wrong_forward_model_is_told(capsys, gl, monkeypatch):
    monkeypatch.setattr(doctor, "_SPOT", 1.6)
    code, usable, checks = diagnosis(capsys)
    assert (code, usable, checks["model"]["state"]) == (1, False, "broken")
    assert main(["doctor"]) == 1
    assert "not usable: mend model" in capsys.readouterr().out


def test_a_check_that_breaks_is_a_finding(capsys, gl, monkeypatch):
    def broken():
        raise RuntimeError("driver mismatch")

    monkeypatch.setattr("torch.cuda.is_available", broken)
    code, _, checks = diagnosis(capsys)
    assert code == 1
    assert "driver mismatch" in checks["devices"]["found"]


def test_kernels_need_a_folder_to_write_to(capsys, gl, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert str(tmp_path / "cache") in diagnosis(capsys)[2]["kernels"]["found"]
    monkeypatch.setattr("os.access", lambda *_: False)
    code, _, checks = diagnosis(capsys)
    assert code == 1
    assert "set NUMBA_CACHE_DIR" in checks["kernels"]["found"]


@pytest.fixture
def methods(monkeypatch):
    known = {
        "exact": Method("exact", "layers", "Says the truth.", "Nobody 2020", print),
        "guess": Method(
            "guess", "layers", "Says anything.", "Somebody 2021", print, Published("Guess", {"test set": 0.617})
        ),
    }
    list_methods()  # before: nothing else registers itself among them
    monkeypatch.setattr("microtomo.registry._METHODS", known)


def test_models_are_listed(capsys, methods):
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert "exact (layers)\n  Says the truth.\n  Cite: Nobody 2020\n" in told
    assert "published mIoU 0.617" in told


def test_models_are_found_by_wildcard(capsys, methods):
    assert main(["models", "g*", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {
        "name": "guess",
        "task": "layers",
        "summary": "Says anything.",
        "published_miou": 0.617,
        "citation": "Somebody 2021",
        "miou": None,
    }


def test_no_model_of_that_name_is_told(capsys, methods):
    assert main(["models", "magic*"]) == 1
    assert "no method matches 'magic*': there are exact, guess" in capsys.readouterr().err
