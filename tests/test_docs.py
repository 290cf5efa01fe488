"""Pages and notebooks do what they say: every command in a block of README and docs is run, or at least parsed.

The commands of a page run one after the other in a folder of small files with the names that the pages use. What would
take too long, never ends or needs the published data is only parsed (verb, arguments, options and their kinds):
`view` serves until it is stopped (tests/viz drives it), `reproduce` and `evaluate --all` run everything for hours
(tests/cli runs them small), `demo` draws for a minute (tests/cli/test_demo.py), and what a page runs on another
computer. `train` runs with a few samples, `design` with one check.
"""

import json
import re
import runpy
import shlex
import shutil
import textwrap
from itertools import pairwise
from pathlib import Path

import h5py
import nbformat
import pytest
import tifffile
import typer

import microtomo
from microtomo.cli.app import app, main
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import write_scan
from microtomo.simulate.microscope import Microscope, simulate_acquisition, write_tiffs
from microtomo.tem.graphene.synthetic import Conditions, micrograph
from microtomo.tem.layers.synthetic import Conditions as OvercoatConditions
from microtomo.tem.layers.synthetic import overcoat
from microtomo.tem.particles.synthetic import Conditions as Particles
from microtomo.tem.particles.synthetic import particle_image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORT = (
    "--epochs 1 --set data.epoch=8 --set data.validation=2 --set data.height=32 --set data.width=32 "
    "--set network.width=4 --set network.widest=8"
)
SHORT_PARTICLES = (
    "--epochs 1 --set data.epoch=2 --set data.validation=1 --set data.side=64 --set network.channels=[4,8] "
    "--set optimiser.batch=2"
)
SHORT_TEM = "--epochs 1 --set data.epoch=8 --set data.crop=32 --set data.synthetic=2"
SMALLER = {"120 + 2 * margin": "64 + 2 * margin", "step_px=1.0": "step_px=0.4"}  # of the Python examples

OVERCOAT = OvercoatConditions(size=128, pixel_nm=(0.1, 0.1), thickness_nm=(2.5, 3.5), crossing=0.0)
SCALE = {"resolution": (10.0, 10.0), "metadata": {"unit": "nm"}}  # pixels per nm


def blocks(page):
    """Python examples and commands of a page, in their order: ("python", text) or ("command", words)."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n((?:.*\n)*?)```|^ {4}(\S.*)$", text, re.MULTILINE):
        example, line = found.groups()
        if example:
            yield "python", example
            continue
        command = re.split(r"\s+#|\s{2,}", line)[0]
        if re.match(r"(ssh .* )?microtomo ", command):
            yield "command", shlex.split(command)


def only_parsed(words):
    verb = words[1]
    return (
        words[0] == "ssh"
        or verb in ("view", "reproduce", "demo", "calibrate")
        or not {"--all", "--tracks"}.isdisjoint(words)
    )


def parse(words):
    """Raises where the verb, an argument or an option does not exist."""
    command = typer.main.get_command(app)
    rest = words[words.index("microtomo") + 1 :]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"there is no {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("microtomo", rest)


def takes_force(words):
    command = typer.main.get_command(app)
    for word in words[1:]:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return any("--force" in p.opts for p in command.params)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with everything that commands of the pages read, small."""
    folder = tmp_path_factory.mktemp("files")
    stack = microtomo.load_stack("au-al-si")
    thickness = microtomo.make_structure(stack, "pads", [8, 3], 32, 32)
    scan = microtomo.simulate_scan(stack, thickness, seed=1)
    write_scan(folder / "scan.h5", scan)
    write_reconstruction(folder / "rec.h5", microtomo.reconstruct(scan), truth=thickness)
    shutil.copy(folder / "rec.h5", folder / "other.h5")
    sample = microtomo.make_structure(stack, "lithography", [8, 3], 72, 72)
    recorded = simulate_acquisition(stack, sample, Microscope(), seed=1)
    write_tiffs(folder / "frames", recorded.images, recorded.energies_kev, recorded.pixel_nm)
    (folder / "folder").mkdir()
    for index in range(2):
        made = micrograph(2, index, Conditions(size=128, pixel_nm=(0.04, 0.045), dose_per_a2=(8e3, 1e4)))
        tifffile.imwrite(folder / "folder" / ("image.tif", "other.tif")[index], made.image)
    shutil.copy(folder / "folder" / "image.tif", folder / "image.tif")
    (folder / "images").mkdir()
    for index in range(2):
        particles = particle_image(11, index, Particles(size=(96, 96), diameter_px=(9, 12), contrast=(2, 3)))
        tifffile.imwrite(folder / "images" / f"p{index}.tif", particles.image)
    (folder / "DATA").mkdir()
    for index in range(10):
        made = micrograph(3, index, Conditions(size=64))
        tifffile.imwrite(folder / "DATA" / f"2014_{index // 2:04}_{index}.tif", made.image)
        tifffile.imwrite(folder / "DATA" / f"2014_{index // 2:04}_{index}_LABEL.tif", made.contaminant.astype("uint8"))
    (folder / "layers").mkdir()
    for index in range(2):
        image = overcoat(11, index, OVERCOAT).image
        tifffile.imwrite(folder / "layers" / f"layer_2026-11-2{index}.tif", image, imagej=True, **SCALE)
    shutil.copy(folder / "layers" / "layer_2026-11-20.tif", folder / "layer.tif")
    (folder / "mine.toml").write_text(
        'name = "mine"\nsubstrate = "Si"\n[[layers]]\nmaterial = "Au"\nmax_nm = 15\n'
        '[[layers]]\nmaterial = "Al"\nmax_nm = 150\n'
    )
    (folder / "sample.toml").write_text(table_of("tutorial.md", "`sample.toml`:"))
    (folder / "details.toml").write_text(table_of("programs.md", "of a measurement:"))
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    # recipes/unet.toml goes on from the weights of recipes/unet-first.toml, so this comes before it
    first = ["train", "unet", "--config", str(folder / "recipes" / "unet-first.toml"), *SHORT.split()]
    assert main([*first, "-o", str(folder / "runs" / "unet-first")]) == 0
    return folder


def table_of(page, before):
    """The indented block of a page after some words of it, as it stands in a file."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(before)[1]
    return textwrap.dedent(re.match(r"\n+((?: {4}.*\n|\n)+)", text)[1])


def record_sample(folder):
    """Images of the sample of docs/tutorial.md, in place of those in a folder."""
    stack = microtomo.load_stack(folder.parent / "sample.toml")
    sample = microtomo.make_structure(stack, "pads", [8, 3], 72, 72)
    recorded = simulate_acquisition(stack, sample, Microscope(), seed=1)
    shutil.rmtree(folder)
    write_tiffs(folder, recorded.images, recorded.energies_kev, recorded.pixel_nm)


WITH_COMMANDS = [
    page for page in PAGES if page.name != "commands.md" and any(kind == "command" for kind, _ in blocks(page))
]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page, files, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    shutil.copytree(files, here)
    monkeypatch.chdir(here)
    for kind, what in blocks(page):
        if kind == "python":
            if page.name != "README.md":  # that one is run by test_readme.py
                for large, small in SMALLER.items():
                    what = what.replace(large, small)
                (here / "example.py").write_text(what)
                runpy.run_path("example.py")
            continue
        told = " ".join(what)
        if only_parsed(what):
            parse(what)
            continue
        tem = SHORT_TEM if any(name in told for name in ("graphene", "layer-unet", "horwath")) else SHORT
        short = SHORT_PARTICLES if "train particle" in told else tem
        words = what[1:] + (short.split() if what[1] == "train" else [])
        words = [
            re.sub(r"^\d+$", "1", word) if before == "--check" else word for before, word in pairwise(["", *words])
        ]
        if takes_force(what):  # the folder has files of the names that pages write to
            words.append("--force")
        code = main(words)
        said = capsys.readouterr()
        assert code == 0, f"{page.name}: {told}: {said.err}"
        if "-o" in what:
            output = here / what[what.index("-o") + 1]
            made = [output, *here.glob(f"{output.stem}-*{output.suffix}")]  # one surface a material
            assert any(path.exists() for path in made), f"{page.name}: {told}: left no {output.name}"
        if (
            page.name == "tutorial.md" and what[1] == "design"
        ):  # from here on, images of the sample that the page describes
            record_sample(here / "frames")
        if page.name == "README.md":  # its lines stand for themselves: one imports what another simulates
            shutil.copy(files / "scan.h5", here)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_found_by_these_tests(page):
    lines = re.findall(r"^ {4}(?:ssh .*)?microtomo .*", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == sum(kind == "command" for kind, _ in blocks(page))


@pytest.mark.parametrize(
    "wrong", ["microtomo vew rec.h5", "microtomo view rec.h5 --brwser", "microtomo reproduce nothing", "microtomo view"]
)
def test_a_wrong_command_is_seen(wrong):
    with pytest.raises(BaseException, match=r"no|No|Missing|nothing") as caught:
        parse(shlex.split(wrong))
    assert not isinstance(caught.value, KeyboardInterrupt | SystemExit)


def test_command_reference_is_that_of_the_command_line():
    reference = runpy.run_path(str(ROOT / "tools" / "commands.py"))["reference"]
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == reference(), "the command line has changed: run `make docs`"


def test_command_reference_has_every_verb_and_option():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    def verbs(command, name):
        if hasattr(command, "commands"):
            for key, inner in command.commands.items():
                yield from verbs(inner, f"{name} {key}")
        else:
            yield name, command

    for name, command in verbs(typer.main.get_command(app), "microtomo"):
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("-") and option not in ("--help", "-h"):
                    assert re.search(rf"`{option}[ `]", section), f"{name} {option}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_stored_without_outputs(path):
    text = path.read_text(encoding="utf-8")
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    for cell in book.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    assert set(json.loads(text)["metadata"]) == {"kernelspec", "language_info"}, "clear what editors add"


def test_files_hold_what_the_page_of_files_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "scan.h5", "--samples", "2", "--size", "16"]) == 0
    assert main(["reconstruct", "scan.h5", "--method", "likelihood", "-o", "rec.h5"]) == 0
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    for heading, name in (("Scan", "scan.h5"), ("Reconstruction", "rec.h5")):
        told = "\n".join(re.findall(r"^ {4}(.*)$", page.split(f"## {heading}\n")[1].split("\n## ")[0], re.MULTILINE))
        with h5py.File(name) as file:
            for path in re.findall(r"/entry(?:/\w+)*", told):
                assert path in file, f"{name} has no {path}"
            for attribute in re.findall(r"@(\w+)", told):
                assert attribute in file["entry"].attrs, f"{name} has no attribute {attribute}"
            unsaid = {name for name in file["entry"] if f"/entry/{name}" not in told}
            assert not unsaid


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5
