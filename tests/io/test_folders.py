import errno
import fcntl
import json
import re

import pytest

from microtomo.errors import MicrotomoError
from microtomo.io.folders import claim_folder

SETTINGS = {"seed": 1, "sizes": (16, 32), "detector": {"noise": 0.02, "gain": 1.0}}


def claim(folder, description=SETTINGS, **options):
    return claim_folder(folder, "run.json", description, "run", **options)


def refused(folder, sentence, description=SETTINGS, **options):
    with pytest.raises(MicrotomoError, match=re.escape(sentence)), claim(folder, description, **options):
        pass


def test_a_new_folder_gets_the_description(tmp_path):
    with claim(tmp_path / "deep" / "new") as folder:
        assert json.loads((folder / "run.json").read_text()) == json.loads(json.dumps(SETTINGS))
    assert folder == tmp_path / "deep" / "new"


def test_the_same_job_comes_back_to_its_folder(tmp_path):
    with claim(tmp_path):
        (tmp_path / "result.h5").write_text("precious")
    before = (tmp_path / "run.json").stat().st_mtime_ns
    with claim(tmp_path):
        assert (tmp_path / "result.h5").read_text() == "precious"
    assert (tmp_path / "run.json").stat().st_mtime_ns == before


def test_another_job_is_refused_with_what_differs(tmp_path):
    with claim(tmp_path):
        pass
    before = (tmp_path / "run.json").read_text()
    other = {**SETTINGS, "seed": 2, "detector": {"noise": 0.05, "gain": 1.0}}
    refused(tmp_path, "holds a run with other settings (seed, detector.noise): give another folder", other)
    assert (tmp_path / "run.json").read_text() == before


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    refused(tmp_path, "is not empty and holds no run: give another folder")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_hidden_files_do_not_make_a_folder_full(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    with claim(tmp_path):
        assert (tmp_path / "run.json").is_file()


def test_a_description_without_results_gives_way_where_results_are_named(tmp_path):
    with claim(tmp_path, {"seed": 9}):
        pass
    with claim(tmp_path, results=("*.h5", "*/*.h5")):
        assert json.loads((tmp_path / "run.json").read_text())["seed"] == 1
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "shard.h5").write_text("")
    refused(tmp_path, "with other settings (seed)", {**SETTINGS, "seed": 9}, results=("*.h5", "*/*.h5"))


def test_a_torn_description_is_a_sentence(tmp_path):
    (tmp_path / "run.json").write_text('{"seed": ')
    refused(tmp_path, "run.json: cannot be understood: give another folder")


def test_one_holder_at_a_time(tmp_path):
    with claim(tmp_path):
        refused(tmp_path, "another run is writing this run")
    with claim(tmp_path):
        pass


def test_a_file_system_without_locks_still_works(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with claim(tmp_path):
        assert (tmp_path / "run.json").is_file()


def test_what_killed_jobs_left_is_removed(tmp_path):
    with claim(tmp_path):
        pass
    (tmp_path / "cache").mkdir()
    for place in (tmp_path, tmp_path / "cache"):
        (place / ".part.h5.1.partial").write_text("half")
    with claim(tmp_path):
        assert not list(tmp_path.rglob(".*"))


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "cannot be written")
    refused(tmp_path / "file" / "below", "cannot be written")
