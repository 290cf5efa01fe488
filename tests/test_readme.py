"""What README and docs promise: the example runs, every public name and every verb, link and picture is there."""

import re
from pathlib import Path

import pytest
import typer

import microtomo
from microtomo.cli.app import app
from microtomo.materials import builtin_materials

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
VERBS = typer.main.get_command(app).commands


def name_of(page):
    return str(page.relative_to(ROOT))


def commands_of(verb):
    """The command of a verb, or its sub-commands."""
    return list(getattr(VERBS[verb], "commands", {"": VERBS[verb]}).values())


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("map: ")
    assert "rmse_nm=" in said
    rec = microtomo.read_reconstruction("rec.h5")
    assert rec.thickness.shape == (2, 64, 64)


def test_every_public_name_has_a_row_and_every_row_is_public():
    table = README.split("| name | what it is |")[1].split("## More")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    told = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(told) == sorted(microtomo.__all__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_verbs_and_options_exist(page):
    code = r"(?:`|^ {4}(?:.*\s)?)microtomo ([a-z]+)([^`#\n|]*)"  # in line, or an indented line
    for verb, rest in re.findall(code, page.read_text(encoding="utf-8"), re.MULTILINE):
        assert verb in VERBS, f"{name_of(page)}: there is no `microtomo {verb}`"
        known = {o for command in commands_of(verb) for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest):
            assert option in {*known, "--help", "-h"}, f"{name_of(page)}: `microtomo {verb}` has no option {option}"


def test_readme_names_every_verb():
    missing = [verb for verb in VERBS if f"microtomo {verb}" not in README and f"make {verb}" not in README]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{name_of(page)} names {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_the_repository_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\b((?:benchmarks|notebooks|recipes|src|tests|tools)/[\w./-]*\w)", text):
        assert (ROOT / path).exists(), f"{name_of(page)} names {path}"


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^ {4})make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_picture_is_light():
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stat().st_size < 500_000, picture.name


def test_stack_file_of_the_docs_is_a_stack(tmp_path):
    lines = (ROOT / "docs" / "files.md").read_text(encoding="utf-8").split("## Stack (TOML)")[1].splitlines()
    path = tmp_path / "my.toml"
    path.write_text("\n".join(line[4:] for line in lines if line.startswith("    ")), encoding="utf-8")
    stack = microtomo.load_stack(path)
    assert stack.symbols == ("Cr", "MyAu")
    assert stack.energies_kev == (5, 7, 10, 15, 20, 25, 30)


def test_docs_name_the_built_in_materials():
    (told,) = re.findall(
        r"Built in are ([^.]*?), and the stack", (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    )
    assert set(re.split(r", | and ", told.replace("\n", " "))) == set(builtin_materials())
